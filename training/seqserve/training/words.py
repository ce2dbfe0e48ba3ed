r"""How raw English text is cut into words, near to the English Web Treebank's way, as one regular expression.

The alternatives are tried in order at each place; what none of them takes (white space) is no word. The expression runs
in the `tokenizers` library (Oniguruma syntax) over the normalised text, so it may meet 0 for any digit.
"""

WORD_PATTERN = r"\w+|[^\w\s]"
