"""The expression for words as it was before it took linear time; the new one has to cut text in the same way."""

_ALTERNATIVES = (
    # web addresses without the punctuation after them, mail addresses, names of hosts and files
    r"""(?:https?://|www\.)[^\s<>"]*[^\s<>".,;:!?)\]}'\u2019…]""",
    r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    r"\w[\w-]*\.(?:com|net|org|gov|edu|doc|xls|ppt|pdf|html?|txt|zip|jpg|gif|exe|csv)(?:/[\w./-]*\w)?\b",
    # faces, and runs of one sign
    r"[:;=8][-^o']?[()\[\]dp/\\|]+(?!\w)|<3(?!\w)",
    r"\.{2,}|-{2,}|={2,}|_{2,}|\*{2,}|~{2,}|#{2,}|<{2,}|>{2,}|''|\u2019\u2019|\u2018\u2019|``|[!?]{2,}",
    # abbreviations with dots
    r"(?:[a-z]\.){2,}",
    r"(?:mr|mrs|ms|dr|st|jr|sr|vs|inc|co|corp|ltd|gen|sen|rep|gov|prof|rev|lt|col|sgt|jan|feb|mar|apr|jun|jul|aug"
    r"|sept?|oct|nov|dec|ave|mt|ft|approx|est|dept|ext)\.(?=\s|,)",
    r"no\.(?=\s?[0-9])|[b-hj-z]\.(?=\s\w)",
    # telephone numbers, dates, decimals and times; a number before its unit
    r"[0-9]{3}-[0-9]{3,4}(?:-[0-9]{4})?\b|[0-9]+(?:/[0-9]+){2,}|[0-9]+(?:[.,:][0-9]+)+(?:st|nd|rd|th)?",
    r"[0-9]+(?=(?:am|pm|mm|cm|km|kg|lbs?|ft|k|m|bn|hrs?|mins?)\b)",
    # clitics, with and without their apostrophe
    r"\w+(?=n['\u2019]t\b)|n['\u2019]t\b|['\u2019`](?:s|m|re|ve|ll|d)\b",
    r"(?:do|does|did|ca|wo|could|would|should|is|was|have|has|had|are|were|ai)(?=nt\b)",
    r"i(?=m\b|ve\b)|(?:you|they)(?=re\b)|(?:that|let|he)(?=s\b)|can(?=not\b)|(?:gon|wan)(?=na\b)|got(?=ta\b)",
    # words that keep their sign
    r"e-?mails?\b|w/o?(?!\w)|non-\w+",
    r"\w+|[^\w\s]",
)

WORD_PATTERN = f"(?i){'|'.join(_ALTERNATIVES)}"
