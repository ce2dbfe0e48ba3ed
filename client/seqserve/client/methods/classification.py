"""What a text is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

from seqserve.client.classify_stream import ClassifyItem, ClassifyStream, ClassifyStreamOptions, classify_dialect
from seqserve.client.methods import Methods


class ClassificationMethods(Methods):
    """Classes."""

    def stream_classify(
        self,
        model: str,
        source: Iterable[ClassifyItem],
        *,
        timeout_s: float | None = None,
        **options: Unpack[ClassifyStreamOptions],
    ) -> ClassifyStream:
        """Tell what a text is while it comes, anew after each piece that completes a token.

        Args:
            model: Name of the model, which has to be one-directional.
            source: The pieces, all of one form: text cut anywhere (str), words (a list of str) or token ids (a list of
                int); and FLUSH, which completes a word whose end is not to be seen yet. It is read as it goes, so it
                may wait for input, or for the answers.
            timeout_s: As in `stream_tag`.
            options: As `ClassifyStreamOptions` says: top_labels, idle_timeout_s, and so on.

        Raises:
            TypeError, ValueError, SeqserveError: as in `stream_tag`.
        """
        dialect = classify_dialect(model, **options)
        return self._calls.feed(self._calls.classification.StreamClassify, dialect, source, timeout_s)
