"""One table out of what was measured: what, median, budget, their ratio, and k9s beside."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

HERE = "here"
"""After a figure of k9s or kubectl that was measured in this run."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was measured."""

    what: str
    value: float
    """In `unit`."""
    unit: str
    budget: float | None = None
    """In `unit`, at most; None: only to be seen."""
    beside: str = ""
    """k9s or kubectl: the reference figure, or one measured here (`HERE`)."""

    @property
    def ratio(self) -> float | None:
        return None if self.budget is None else self.value / self.budget


@dataclass(slots=True)
class Report:
    """What was measured so far, in parts with a heading each."""

    parts: list[tuple[str, list[Line]]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """What could not be measured, and why."""

    def part(self, title: str) -> None:
        self.parts.append((title, []))

    def add(self, what: str, values: float | Sequence[float], unit: str, budget: float | None = None, beside: str = "") -> None:
        """`values`: one, or those of several runs, of which the median counts."""
        value = float(statistics.median(values)) if isinstance(values, Sequence) else float(values)
        self.parts[-1][1].append(Line(what, value, unit, budget, beside))

    def lines(self) -> Iterable[str]:
        """As Markdown."""
        rows = [("what", "median", "budget", "ratio", "k9s 0.51")]
        for title, lines in self.parts:
            rows.append((f"**{title}**", "", "", "", ""))
            for line in lines:
                ratio = line.ratio
                rows.append((
                    line.what,
                    f"{figure(line.value)} {line.unit}".strip(),
                    "" if line.budget is None else f"{figure(line.budget)} {line.unit}".strip(),
                    "" if ratio is None else f"{ratio:.2f}" + (" over" if ratio > 1 else ""),
                    line.beside,
                ))  # fmt: skip
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(rows[0], widths, strict=True)) + " |"
        yield "|" + "|".join("-" * (width + 1) + (":" if at in (1, 2, 3) else "-") for at, width in enumerate(widths)) + "|"
        for row in rows[1:]:
            cells = (
                cell.rjust(width) if at in (1, 2, 3) else cell.ljust(width)
                for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            yield "| " + " | ".join(cells) + " |"
        yield from (f"not measured: {words}" for words in self.failed)


def figure(value: float) -> str:
    """Three digits that matter."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
