"""What a backend is, and what it gives for a model's file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy.typing as npt

from servoir.servable.spec import Port

if TYPE_CHECKING:
    from servoir._core import NativeModel
    from servoir.backends.model_file import ModelFile

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Placement:
    """The device that a model is to run on."""

    kind: str  # "cpu"; as Backend.device_kinds() names it
    index: int | None = None  # counted from 0; None: the start configuration names none


CPU = Placement("cpu")


@dataclass(frozen=True)
class Batching:
    """How instances become the batches that a model is run with."""

    max_batch: int  # instances in one batch, at most
    with_batch_dim: bool = True  # the first dimension of inputs and outputs counts instances
    unbatched_inputs: tuple[int, ...] = ()  # inputs without that dimension: one value for a whole batch
    unbatched_outputs: tuple[int, ...] = ()  # the same of outputs


class PythonModel(Protocol):
    """A model that the worker runs through Python; see WorkerRuntime.add_python_model."""

    def execute(self, inputs: list[Array], outputs: list[Array | None]) -> list[Array | None]: ...


class Subgraph(Protocol):
    """A model's file that a backend has opened. It may have `unserved_outputs`, a dict of the outputs that cannot be
    served, which are not among `outputs`: their names, and the reasons to continue "output 'NAME' …"."""

    @property
    def inputs(self) -> list[Port]: ...
    @property
    def outputs(self) -> list[Port]: ...
    def execute_copied(self, inputs: Sequence[Array]) -> list[Array]:
        """One batch outside of a server, on memory of its own."""

    def runnable(self, batching: Batching) -> NativeModel | PythonModel:
        """What the worker is to run. BackendError if the model cannot have such batches."""


class Backend(Protocol):
    """What the class of a record in catalogue.json is like."""

    def version(self) -> str:
        """The runtime's version. BackendError, saying what to do, if it cannot be used."""

    def device_kinds(self) -> tuple[str, ...]:
        """The kinds of devices that it can run models on, whether this machine has them or not. Loads nothing."""

    def open(self, file: ModelFile, threads: int, placement: Placement, options: Mapping[str, str]) -> Subgraph:
        """Where the file has `content`, that is opened, and nothing of it is written to disk. `threads`: how many CPU
        threads one batch may use. `placement`: of one of device_kinds(). BackendError if the file cannot be run."""


@dataclass(frozen=True)
class OpenedModel:
    backend: str
    version: str  # the runtime's
    subgraphs: list[Subgraph]  # one for each file
    refusals: tuple[str, ...] = ()  # why backends that come before it do not run it
