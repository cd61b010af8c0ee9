"""What the server counts and measures, as `servoir._core.Server.stats()` returns it.

The C++ core declares each figure where it counts it; docs/development.md says how to add one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypedDict


class Sample(TypedDict):
    """What a figure shows for one set of labels."""

    labels: dict[str, str]
    value: float  # of a histogram: the sum of what it recorded
    buckets: list[int]  # of a histogram: how many it recorded in each bucket, the last of which has no bound


class Figure(TypedDict):
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    unit: str  # "seconds", "bytes" or ""
    bounds: list[float]  # of a histogram: the largest value of each bucket but the last
    samples: list[Sample]


Figures = Mapping[str, Figure]
"""Figures by name."""


def total(figures: Figures, name: str, **labels: str) -> float:
    """The sum over the samples of a figure that have these labels; 0 when there is none."""
    if name not in figures:
        return 0.0
    samples = figures[name]["samples"]
    return sum((one["value"] for one in samples if labels.items() <= one["labels"].items()), 0.0)
