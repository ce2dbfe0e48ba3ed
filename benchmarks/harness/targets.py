"""Targets: what a figure means, the value that it has to reach, and the table that compares both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """The target of one figure. With neither bound, the figure is only reported.

    Attributes:
        key: Name of the figure in the JSON object.
        meaning: One line for the table.
        at_least: Lower bound.
        at_most: Upper bound.
    """

    key: str
    meaning: str
    at_least: float | None = None
    at_most: float | None = None

    def reached(self, value: float | None) -> bool:
        """Reports whether a value meets the target; None, for a figure that could not be measured, never does."""
        if value is None:
            return False
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)


def format_table(figures: Mapping[str, float | None], targets: Sequence[Target]) -> str:
    """Formats figures as lines of name, value, target, whether the target is met, and meaning."""
    lines = [f"{'figure':32} {'value':>10}  {'target':>8}  "]
    for target in targets:
        value, bound = figures[target.key], ""
        if target.at_least is not None:
            bound = f">= {target.at_least:g}"
        if target.at_most is not None:
            bound = f"<= {target.at_most:g}"
        verdict = ("yes" if target.reached(value) else "NO") if bound else ""
        shown = "none" if value is None else f"{value:.4g}"
        lines.append(f"{target.key:32} {shown:>10}  {bound:>8}  {verdict:3}  {target.meaning}")
    return "\n".join(lines)
