"""Checks of arguments: each returns the value, or raises RuntimeError that names the parameter.

Public functions raise RuntimeError for every bad argument, also where Python would use TypeError or ValueError, because
those of the predecessor did and its users catch that.

Numbers have an upper bound. `high` is the end of a range that users choose from, and every message tells it; `ceiling`
is what only a slip exceeds, and only the error for a larger number tells it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


LONGEST_NUMBER = 256  # bits of an int that a message shows in digits; Python refuses to print very long numbers
LONGEST_WAIT = 366 * 24 * 3600  # seconds


def _shown(value: object) -> str:
    text = _digits(value) if isinstance(value, int) else repr(value)
    if len(text) > 200:
        text = text[:200] + "…"
    return f"{text} of type {type(value).__name__}"


def _digits(value: int) -> str:
    bits = value.bit_length()
    return str(value) if bits <= LONGEST_NUMBER else f"a {'negative ' if value < 0 else ''}number of {bits} bits"


def refuse(parameter: str, expected: str, value: object) -> RuntimeError:
    return RuntimeError(f"Parameter '{parameter}' should be {expected}, but is {_shown(value)}")


def text(parameter: str, value: object) -> str:
    """Takes a str that is not empty."""
    if not isinstance(value, str):
        raise refuse(parameter, "a str", value)
    if not value:
        raise RuntimeError(f"Parameter '{parameter}' should be a str that is not empty")
    return value


def integer(parameter: str, value: object, low: int, high: int | None = None, *, ceiling: int | None = None) -> int:
    """Takes an int from `low` to `high` or `ceiling`, both included, that is not a bool."""
    bounds = f"an int >= {low}" if high is None else f"an int in {low}…{high}"
    if isinstance(value, bool) or not isinstance(value, int):
        raise refuse(parameter, bounds, value)
    if ceiling is not None and value > ceiling:
        bounds = f"an int in {low}…{ceiling}"
    elif low <= value and (high is None or value <= high):
        return value
    raise RuntimeError(f"Parameter '{parameter}' should be {bounds}, but is {_digits(value)}")


def seconds(parameter: str, value: object, ceiling: int = LONGEST_WAIT) -> float:
    """Takes a finite int or float that is at least 0 and at most `ceiling`, and returns a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise refuse(parameter, "a number >= 0", value)
    if value > ceiling:
        raise refuse(parameter, f"a number in 0…{ceiling}", value)
    return float(value)


def time_limit(parameter: str, value: object, ceiling: int) -> float | None:
    """Takes None, or a finite int or float of at least a millisecond and at most `ceiling`, and returns a float."""
    if value is None:
        return None
    limit = seconds(parameter, value, ceiling)
    if limit < 0.001:
        raise refuse(parameter, "a number >= 0.001, or None", value)
    return limit


def flag(parameter: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise refuse(parameter, "a bool", value)
    return value


def one_of(parameter: str, value: object, words: Sequence[str]) -> str:
    """Takes one of `words` in upper or lower case, and returns it as it is written there."""
    chosen = text(parameter, value)
    for word in words:
        if word.lower() == chosen.lower():
            return word
    raise RuntimeError(f"Parameter '{parameter}' should be one of {', '.join(words)}, but is {chosen!r}")


def different(parameter: str, values: Sequence[T]) -> tuple[T, ...]:
    """Takes values of which none comes twice."""
    seen: set[T] = set()
    for value in values:
        if value in seen:
            raise RuntimeError(f"Parameter '{parameter}' has {value!r} more than once")
        seen.add(value)
    return tuple(values)


def texts(parameter: str, value: object) -> tuple[str, ...]:
    """Takes a str, or a list or tuple of different str. None of them may be empty."""
    if isinstance(value, str):
        return (text(parameter, value),)
    if not isinstance(value, (list, tuple)):
        raise refuse(parameter, "a str, or a list or tuple of str", value)
    if not value:
        raise RuntimeError(f"Parameter '{parameter}' should not be empty")
    return different(parameter, [text(f"{parameter}[{i}]", item) for i, item in enumerate(value)])


def integers(parameter: str, value: object, low: int, *, ceiling: int) -> tuple[int, ...]:
    """Takes a list or tuple of different ints that are at least `low` and at most `ceiling`."""
    if not isinstance(value, (list, tuple)):
        raise refuse(parameter, "a list or tuple of ints", value)
    return different(
        parameter, [integer(f"{parameter}[{i}]", item, low, ceiling=ceiling) for i, item in enumerate(value)]
    )
