"""Checks that a tokenizer still does what it did at the export: the manifest has texts with their tokens."""

from __future__ import annotations

import tokenizers

from seqserve.server.errors import BrokenServableError, ServeError
from seqserve.server.model.manifest import TOKENIZER_FILE
from seqserve.server.text.tokenization import Tokenization

_SHOWN = 60  # characters of a text in a message


def check_probes(tokenization: Tokenization) -> None:
    """Tokenizes the probes of the manifest and compares the tokens.

    The digest of tokenizer.json proves that the file is the same. The library that reads it may still
    behave differently: in tokenizers 0.21.0, for example, a normalizer is false in a truth test.

    Args:
        tokenization: The tokenization of the servable, as requests use it.

    Raises:
        BrokenServableError: A probe gives other tokens.
    """
    for index, probe in enumerate(tokenization.vocabulary.probes):
        name = f"vocabulary.probes[{index}]"
        try:
            inputs = tokenization.tokenize_text(probe.text, name).inputs
            ids: object = inputs.tokens.tolist()
        except ServeError as error:
            ids = error.message
        if ids != list(probe.token_ids):
            shown = probe.text if len(probe.text) <= _SHOWN else f"{probe.text[:_SHOWN]}…"
            raise BrokenServableError(
                f"{TOKENIZER_FILE} no longer tokenizes as it did at the export: {name}, {shown!r}, must give tokens "
                f"{list(probe.token_ids)}, got {ids}; tokenizers {tokenizers.__version__} is installed, install the "
                "version that the servable was exported with, or export it again"
            )
