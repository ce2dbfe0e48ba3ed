r"""How raw English text is cut into words, close to the English Web Treebank, as one regular expression.

The alternatives are tried in order at each place; text that none of them matches (white space) is no word. The
expression runs in the `tokenizers` library (Oniguruma syntax) over the normalized text, so it may meet lower case for
any case and 0 for any digit. Clitics come apart as they do in Universal Dependencies: did|n't, it|'s, can|not, gon|na.
What only a lexicon knows (``its`` for ``it's``) stays in one piece.

The expression takes linear time by construction, and no text makes it reach the library's limit on backtracking, which
raises a PanicException. It needs two rules:

- Quantifiers are possessive (``++``) wherever the next element cannot match what they have taken.
- Addresses and names of hosts and files are long runs of characters that decide at their end whether they match. An
  attempt from the middle of a run ends at the same place as one from its start, so it is only made within the first
  LATE_START_MAX characters of a run, where a preceding word may have ended (``1.5-manual.pdf``). The check is
  case-sensitive: with case folding it took 40 times as long (43 instead of 1.1 us per character; before: 2.1 us).
"""

LATE_START_MAX = 12
"""Characters of a run in which attempts at an address or a name of a host or file may start."""

_ALTERNATIVES = (
    # web addresses without the punctuation after them, mail addresses, names of hosts and files
    r"""(?:https?://|www\.)[^\s<>"]*[^\s<>".,;:!?)\]}'\u2019…]""",
    rf"(?<!(?-i:[\w.+-]{{{LATE_START_MAX}}}))[\w.+-]++@[\w-]++(?:\.[\w-]++)++",
    rf"(?<!(?-i:[\w-]{{{LATE_START_MAX}}}))\w[\w-]*+\."
    r"(?:com|net|org|gov|edu|doc|xls|ppt|pdf|html?|txt|zip|jpg|gif|exe|csv)(?:/[\w./-]*\w)?\b",
    # faces, and runs of one sign
    r"[:;=8][-^o']?[()\[\]dp/\\|]+(?!\w)|<3(?!\w)",
    r"\.{2,}|-{2,}|={2,}|_{2,}|\*{2,}|~{2,}|#{2,}|<{2,}|>{2,}|''|\u2019\u2019|\u2018\u2019|``|[!?]{2,}",
    # abbreviations with dots
    r"(?:[a-z]\.){2,}",
    r"(?:mr|mrs|ms|dr|st|jr|sr|vs|inc|co|corp|ltd|gen|sen|rep|gov|prof|rev|lt|col|sgt|jan|feb|mar|apr|jun|jul|aug"
    r"|sept?|oct|nov|dec|ave|mt|ft|approx|est|dept|ext)\.(?=\s|,)",
    r"no\.(?=\s?[0-9])|[b-hj-z]\.(?=\s\w)",
    # telephone numbers, dates, decimals and times; a number before its unit
    r"[0-9]{3}-[0-9]{3,4}(?:-[0-9]{4})?\b|[0-9]++(?:/[0-9]++){2,}|[0-9]++(?:[.,:][0-9]++)++(?:st|nd|rd|th)?",
    r"[0-9]++(?=(?:am|pm|mm|cm|km|kg|lbs?|ft|k|m|bn|hrs?|mins?)\b)",
    # clitics, with and without their apostrophe
    r"(?=\w++(?<=n)['\u2019]t\b)\w+(?=n['\u2019]t\b)|n['\u2019]t\b|['\u2019`](?:s|m|re|ve|ll|d)\b",
    r"(?:do|does|did|ca|wo|could|would|should|is|was|have|has|had|are|were|ai)(?=nt\b)",
    r"i(?=m\b|ve\b)|(?:you|they)(?=re\b)|(?:that|let|he)(?=s\b)|can(?=not\b)|(?:gon|wan)(?=na\b)|got(?=ta\b)",
    # words that keep their sign
    r"e-?mails?\b|w/o?(?!\w)|non-\w+",
    r"\w+|[^\w\s]",
)

WORD_PATTERN = f"(?i){'|'.join(_ALTERNATIVES)}"
