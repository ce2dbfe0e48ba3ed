"""The next step of an engine: one batch, and the operation to run on it."""

from __future__ import annotations

from collections.abc import Sequence as Listed
from dataclasses import dataclass

from seqserve.server.engine.generation import GenerationSequence
from seqserve.server.engine.sequence import PrefillSequence, Sequence
from seqserve.server.engine.streaming import StreamingSequence


@dataclass(frozen=True, slots=True)
class PrefillStep:
    """Consumes known inputs.

    Attributes:
        rows: Each a sequence and how many of its steps to consume.
    """

    rows: list[tuple[PrefillSequence, int]]

    @property
    def members(self) -> Listed[Sequence]:
        """The sequences that take part."""
        return [sequence for sequence, _ in self.rows]


@dataclass(frozen=True, slots=True)
class StreamStep:
    """Consumes inputs that were pushed.

    Attributes:
        rows: Each a sequence and how many of its steps to consume; 0: it has only an end to publish.
    """

    rows: list[tuple[StreamingSequence, int]]

    @property
    def members(self) -> Listed[Sequence]:
        """The sequences that take part."""
        return [sequence for sequence, _ in self.rows]


@dataclass(frozen=True, slots=True)
class DecodeStep:
    """Consumes one token of each sequence, the next known one or the last drawn.

    Attributes:
        sequences: The sequences. The same list object means the same members.
    """

    sequences: list[GenerationSequence]

    @property
    def members(self) -> Listed[Sequence]:
        """The sequences that take part."""
        return self.sequences


Step = PrefillStep | StreamStep | DecodeStep
