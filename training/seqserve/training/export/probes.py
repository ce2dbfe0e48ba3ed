"""Tokenizer probes: texts with their token IDs, which a server compares when it loads the servable.

Another version of the `tokenizers` library may skip a normalizer or cut words differently. The model then runs and
answers wrongly; the probes make such a server refuse it.
"""

from collections.abc import Iterator

from tokenizers import Tokenizer

from seqserve.v1 import manifest_pb2

TEXTS = (
    "The Quick Brown Fox didn't jump over 13 lazy dogs.",
    "  two  spaces,\ttab\nand line ends\r\n",
    "caf\u00e9 cafe\u0301 \u0130stanbul stra\u00dfe \u039f\u03a3",
    "joe@example.com wrote (http://example.com/a?b=c): \u2018it\u2019s $5.00\u2026\u2019",
    "\u6f22\u5b57 \u0e44\u0e17\u0e22 \U0001f600",
    "report-2.5.pdf a_b-c--d !!",
)
VOCABULARY_TOKENS = 20
"""Tokens of the vocabulary that make up one more probe."""


def tokenizer_probes(tokenizer: Tokenizer) -> list[manifest_pb2.TokenizerProbe]:
    """Builds the probes of a tokenizer.

    Args:
        tokenizer: Tokenizer of the servable.

    Returns:
        Probes of the texts that the tokenizer can represent. Without an unknown token those are the texts whose
        characters are all in the vocabulary.
    """
    # as the servable's file gives it, not as training built it
    loaded = Tokenizer.from_str(tokenizer.to_str())
    vocabulary = sorted(loaded.get_vocab().items(), key=lambda item: item[1])
    words = " ".join(token for token, _ in vocabulary[:VOCABULARY_TOKENS])
    characters = "".join(token for token, _ in vocabulary if len(token) == 1)
    return list(_probes(loaded, (*TEXTS, words, characters)))


def _probes(tokenizer: Tokenizer, texts: tuple[str, ...]) -> Iterator[manifest_pb2.TokenizerProbe]:
    for text in texts:
        try:
            ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        except Exception:  # noqa: BLE001, S112  # the library raises bare Exceptions for text outside the vocabulary
            continue
        if ids:
            yield manifest_pb2.TokenizerProbe(text=text, token_ids=ids)
