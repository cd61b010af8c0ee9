"""Checks of arguments: each returns the value, or raises RuntimeError that names the parameter.

RuntimeError for every bad argument, also where Python would use TypeError or ValueError, is part of the contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def _shown(value: object) -> str:
    text = repr(value)
    if len(text) > 200:
        text = text[:200] + "…"
    return f"{text} of type {type(value).__name__}"


def refuse(parameter: str, expected: str, value: object) -> RuntimeError:
    return RuntimeError(f"Parameter '{parameter}' should be {expected}, but is {_shown(value)}")


def text(parameter: str, value: object) -> str:
    """A str that is not empty."""
    if not isinstance(value, str):
        raise refuse(parameter, "a str", value)
    if not value:
        raise RuntimeError(f"Parameter '{parameter}' should be a str that is not empty")
    return value


def integer(parameter: str, value: object, low: int, high: int | None = None) -> int:
    """An int (bool is none) in low … high, both included."""
    bounds = f"an int >= {low}" if high is None else f"an int in {low}…{high}"
    if isinstance(value, bool) or not isinstance(value, int):
        raise refuse(parameter, bounds, value)
    if value < low or (high is not None and value > high):
        raise RuntimeError(f"Parameter '{parameter}' should be {bounds}, but is {value}")
    return value


def number(parameter: str, value: object, low: float) -> float:
    """An int or float that is at least `low` and finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value < float("inf"):
        raise refuse(parameter, f"a number >= {low:g}", value)
    return float(value)


def flag(parameter: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise refuse(parameter, "a bool", value)
    return value


def one_of(parameter: str, value: object, words: Sequence[str]) -> str:
    """One of `words`, as it is written there; case is ignored."""
    chosen = text(parameter, value)
    for word in words:
        if word.lower() == chosen.lower():
            return word
    raise RuntimeError(f"Parameter '{parameter}' should be one of {', '.join(words)}, but is {chosen!r}")


def different(parameter: str, values: Sequence[T]) -> tuple[T, ...]:
    """No value twice."""
    seen: set[T] = set()
    for value in values:
        if value in seen:
            raise RuntimeError(f"Parameter '{parameter}' has {value!r} more than once")
        seen.add(value)
    return tuple(values)


def texts(parameter: str, value: object) -> tuple[str, ...]:
    """A str, or a list or tuple of different str; none empty."""
    if isinstance(value, str):
        return (text(parameter, value),)
    if not isinstance(value, (list, tuple)):
        raise refuse(parameter, "a str, or a list or tuple of str", value)
    if not value:
        raise RuntimeError(f"Parameter '{parameter}' should not be empty")
    return different(parameter, [text(f"{parameter}[{i}]", item) for i, item in enumerate(value)])


def integers(parameter: str, value: object, low: int) -> tuple[int, ...]:
    """A list or tuple of different ints >= low."""
    if not isinstance(value, (list, tuple)):
        raise refuse(parameter, "a list or tuple of ints", value)
    return different(parameter, [integer(f"{parameter}[{i}]", item, low) for i, item in enumerate(value)])
