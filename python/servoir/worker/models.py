"""Opens the declared models through the backends, and finds what the scheduler must know of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from servoir.control import Message
from servoir.server import limits, plan
from servoir.server.register.declarations import DEFAULT_MODEL_BATCH, Declarations, LoadedModel, SubgraphPorts
from servoir.server.register.model import Model

if TYPE_CHECKING:
    from servoir._core import WorkerRuntime

DYNAMIC = -1


@dataclass(frozen=True)
class OpenedModel:
    model: Model
    subgraphs: Sequence[Any]  # as backends.open_model gives them
    max_batch: int

    def loaded(self) -> LoadedModel:
        return LoadedModel([_ports(self.model, subgraph) for subgraph in self.subgraphs], self.max_batch)

    def register(self, runtime: WorkerRuntime, declared: Declarations) -> None:
        for number, subgraph in enumerate(self.subgraphs):
            subgraph.register(
                runtime,
                declared.model_callee(self.model, number),
                max_batch=self.max_batch,
                with_batch_dim=self.model.with_batch_dim,
                unbatched_inputs=self.model.without_batch_dim_inputs,
            )


def threads_per_model(message: Message, models: int) -> int:
    given: int | None = message["threads"]
    return given or limits.backend_threads(message["usable_cores"], message["sharing_workers"], models)


def version_directory(servable: str, version: int) -> str:
    """The directory with the model files of this version. RuntimeError, saying what there is, if it is missing."""
    versions, _ = plan.versions_on_disk(servable)
    if not versions:
        raise RuntimeError(
            f"there is no valid version directory in '{servable}'; the model files belong in a directory such as"
            f" '{os.path.join(servable, '1')}'"
        )
    if version not in versions:
        there = ", ".join(map(str, versions))
        raise RuntimeError(f"there is no version directory {version} in '{servable}'; there are {there}")
    return os.path.join(servable, str(version))


def open_all(declared: Declarations, servable: str, message: Message, threads: int) -> list[OpenedModel]:
    if not declared.models:
        return []
    directory = version_directory(servable, message["version"])
    return [_open(model, servable, directory, message, threads) for model in declared.models.values()]


def _open(model: Model, servable: str, directory: str, message: Message, threads: int) -> OpenedModel:
    paths = [os.path.join(directory, file) for file in model.files]
    for path in paths:
        if not os.path.isfile(path):
            raise RuntimeError(f"Parameter 'model_file': there is no file '{path}'")
    options = dict(model.context.settings_for(message["device_type"] or "cpu")) if model.context else {}
    if model.config_file is not None:
        config = os.path.join(servable, model.config_file)
        if not os.path.isfile(config):
            raise RuntimeError(f"Parameter 'config_file' of model '{model.key}': there is no file '{config}'")
        options["config_file"] = config
    if model.context is not None and model.context.thread_num is not None:
        threads = model.context.thread_num
    from servoir import backends  # not for workers without models

    opened = backends.open_model(paths, model.model_format, model.backend, threads, message["device_id"], options)
    return OpenedModel(model, opened.subgraphs, batch_size(model, opened.subgraphs))


def batch_size(model: Model, subgraphs: Sequence[Any]) -> int:
    """Instances in one run: the first dimension of inputs and outputs, which must agree everywhere; where it is
    dynamic, what the declaration says. 1 without a batch dimension."""
    if not model.with_batch_dim:
        return 1
    fixed: int | None = None
    for number, subgraph in enumerate(subgraphs):
        for index in model.without_batch_dim_inputs:
            if index >= len(subgraph.inputs):
                raise RuntimeError(
                    f"Parameter 'without_batch_dim_inputs' of model '{model.key}' has {index}, but subgraph {number}"
                    f" has {len(subgraph.inputs)} inputs, counted from 0"
                )
        for what, port in _batched_ports(model, subgraph):
            shape = port["shape"]
            place = f"model '{model.key}', subgraph {number}: {what} '{port['name']}'"
            if shape is None:
                continue  # any rank; it is found out when it runs
            if not shape:
                raise RuntimeError(
                    f"{place} is a scalar and has no batch dimension; declare the model with with_batch_dim=False, or"
                    f" name the input in without_batch_dim_inputs"
                )
            first = shape[0]
            if first == DYNAMIC:
                continue
            if first == 0:
                raise RuntimeError(f"{place} has a batch dimension of 0; it should be positive or dynamic")
            if fixed is not None and first != fixed:
                raise RuntimeError(
                    f"{place} has {first} as its first dimension, others have {fixed}; with with_batch_dim=True it is"
                    f" the batch size and the same everywhere"
                )
            fixed = first
    wanted = model.max_batch_size
    if fixed is None:
        return wanted or DEFAULT_MODEL_BATCH
    if wanted is not None and wanted > fixed:
        raise RuntimeError(
            f"Parameter 'max_batch_size' of model '{model.key}' is {wanted}, but the model's batch size is fixed"
            f" at {fixed}"
        )
    return wanted or fixed


def _batched_ports(model: Model, subgraph: Any) -> list[tuple[str, dict[str, Any]]]:
    inputs = [
        ("input", port) for index, port in enumerate(subgraph.inputs) if index not in model.without_batch_dim_inputs
    ]
    return inputs + [("output", port) for port in subgraph.outputs]


def _ports(model: Model, subgraph: Any) -> SubgraphPorts:
    """Shapes of one instance: without the batch dimension where there is one."""

    def port(description: dict[str, Any], batched: bool) -> dict[str, Any]:
        shape = description["shape"]
        if shape is not None:
            shape = list(shape[1:] if batched and model.with_batch_dim else shape)
        return {"name": description["name"], "dtype": description["dtype"], "shape": shape, "batched": batched}

    return SubgraphPorts(
        [
            port(description, index not in model.without_batch_dim_inputs)
            for index, description in enumerate(subgraph.inputs)
        ],
        [port(description, True) for description in subgraph.outputs],
    )
