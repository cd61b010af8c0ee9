"""A figure with its target, and the table of all."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Figure:
    name: str
    value: float
    unit: str
    target: float | None = None
    at_most: bool = False  # the target is an upper bound
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        met = self.value <= self.target if self.at_most else self.value >= self.target
        return "met" if met else "missed"

    def row(self) -> tuple[str, ...]:
        def show(value: float) -> str:
            return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"

        bound = "" if self.target is None else f"{'≤' if self.at_most else '≥'} {show(self.target)}"
        return self.name, show(self.value), self.unit, bound, self.verdict, self.note


def table(figures: list[Figure]) -> str:
    rows = [("figure", "measured", "unit", "target", "", "note"), *(figure.row() for figure in figures)]
    wide = [max(len(row[i]) for row in rows) for i in range(6)]
    lines = [
        "  ".join(f"{cell:>{wide[i]}}" if i in {1, 3} else f"{cell:<{wide[i]}}" for i, cell in enumerate(row)).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
