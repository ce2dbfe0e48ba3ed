"""Which rows of each batch a process trains on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """The rows of a batch that one process takes: every ``count``-th row, starting at ``number``.

    Attributes:
        number: Rank of the process, in [0, count).
        count: Number of processes.
    """

    number: int = 0
    count: int = 1

    @property
    def rows(self) -> slice:
        """Index of the process's rows, for arrays and sequences with one entry per row."""
        return slice(self.number, None, self.count)


WHOLE = Share()
"""The share of a process that trains alone."""
