"""What an engine runs next: one batch, and what is done with it."""

from __future__ import annotations

from collections.abc import Sequence as Listed
from dataclasses import dataclass

from seqserve.server.engine.generation import GenerationSequence
from seqserve.server.engine.sequence import PrefillSequence, Sequence
from seqserve.server.engine.streaming import StreamingSequence


@dataclass(frozen=True, slots=True)
class PrefillStep:
    """Consume known inputs: each row a sequence and how many of its steps."""

    rows: list[tuple[PrefillSequence, int]]

    @property
    def members(self) -> Listed[Sequence]:
        """Who takes part."""
        return [sequence for sequence, _ in self.rows]


@dataclass(frozen=True, slots=True)
class StreamStep:
    """Consume what was fed: each row a feed and how many of its steps, 0 if it has nothing but an end to tell."""

    rows: list[tuple[StreamingSequence, int]]

    @property
    def members(self) -> Listed[Sequence]:
        """Who takes part."""
        return [feed for feed, _ in self.rows]


@dataclass(frozen=True, slots=True)
class DecodeStep:
    """One token for each sequence, the next known one or the last drawn. The same list object: the same members."""

    sequences: list[GenerationSequence]

    @property
    def members(self) -> Listed[Sequence]:
        """Who takes part."""
        return self.sequences


Step = PrefillStep | StreamStep | DecodeStep
