"""An open file of PyTorch's, of whichever format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from servoir.backends.interface import Array
from servoir.servable.spec import Port


@dataclass(frozen=True)
class Program:
    """A file that is open, as script.py and export.py give it."""

    inputs: list[Port]
    outputs: list[Port]
    run: Callable[[list[Any]], list[Any]]  # a tensor or number for each input → the same for each output
    scalars: Sequence[bool]  # of each input: it is a Python number to the program
    copies: Sequence[bool]  # of each input: the program writes to it or keeps it
    trial: list[Array] | None  # inputs that it should run with
    batches: tuple[int, int | None] = (1, None)  # how many instances it takes, at least and at most
