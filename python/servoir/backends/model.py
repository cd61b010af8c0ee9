"""What a backend gives for a model's file, and what all backends share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from servoir import log

if TYPE_CHECKING:
    from servoir._core import WorkerRuntime
    from servoir.backends.model_file import ModelFile

Array = npt.NDArray[Any]

# An input or output: {"name": str, "dtype": numpy's name, "shape": list with -1 for a dynamic dimension, the batch
# dimension included, or None where not even the number of dimensions is known}.
Port = dict[str, Any]

DYNAMIC = -1


class BackendError(RuntimeError):
    """A backend cannot be used, or cannot open a file."""


class Subgraph(Protocol):
    """A model's file, opened and ready to run."""

    @property
    def inputs(self) -> list[Port]: ...
    @property
    def outputs(self) -> list[Port]: ...
    def execute_copied(self, inputs: Sequence[Array]) -> list[Array]:
        """One batch outside of a server, on memory of its own."""

    def register(
        self,
        runtime: WorkerRuntime,
        callee: int,
        *,
        max_batch: int,
        with_batch_dim: bool,
        unbatched_inputs: Sequence[int],
    ) -> None:
        """Makes the worker run it for this callee."""


class Backend(Protocol):
    name: str
    formats: tuple[str, ...]  # as file_format() names them

    def version(self) -> str:
        """The runtime's version. BackendError, saying what to do, if it cannot be used."""

    def open(self, file: ModelFile, threads: int, device_id: int | None, options: Mapping[str, str]) -> Subgraph:
        """Where the file has `content`, that is opened, and nothing of it is written to disk. `threads`: how many CPU
        threads one batch may use. BackendError if the file cannot be run."""


@dataclass(frozen=True)
class OpenedModel:
    backend: str
    version: str  # the runtime's
    subgraphs: list[Subgraph]  # one for each file


def batch_size(subgraph: Subgraph, *, with_batch_dim: bool = True, unbatched_inputs: Sequence[int] = ()) -> int | None:
    """The batch dimension's number; None where it is dynamic, 1 without one. BackendError names the inputs or outputs
    that contradict each other."""
    if not with_batch_dim:
        return 1
    found: tuple[int, str] | None = None
    ports = [("input", port) for index, port in enumerate(subgraph.inputs) if index not in unbatched_inputs]
    for side, port in [*ports, *(("output", port) for port in subgraph.outputs)]:
        place = f"{side} '{port['name']}'"
        shape = port["shape"]
        if shape is None:
            continue
        if not shape:
            raise BackendError(f"{place} is a single value and has no batch dimension")
        first = shape[0]
        if first == DYNAMIC:
            continue
        if first < 1:
            raise BackendError(f"{place} has shape {shape}; a batch dimension of {first} is of no use")
        if found is not None and found[0] != first:
            raise BackendError(
                f"{place} has {first} as its first dimension, but {found[1]} has {found[0]}; with a batch dimension"
                f" all of them must be the same"
            )
        found = found or (first, place)
    return found[0] if found else None


def warm_up(subgraph: Subgraph, name: str) -> None:
    """Runs the model once on zeros where its shapes tell how, so that the first request does not pay for what a runtime
    puts off. A model that refuses zeros is no mistake."""
    arrays = []
    for port in subgraph.inputs:
        shape = port["shape"]
        if shape is None or DYNAMIC in shape[1:]:
            return
        arrays.append(np.zeros([1 if dim == DYNAMIC else dim for dim in shape], port["dtype"]))
    try:
        subgraph.execute_copied(arrays)
    except RuntimeError as error:
        log.info("the model '%s' was not warmed up, it refuses zeros: %s", name, error)
