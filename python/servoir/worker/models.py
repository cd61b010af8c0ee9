"""Opens the declared models through the backends, and finds what the scheduler must know of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from servoir import log
from servoir.control import Message
from servoir.encryption import DecryptionKey
from servoir.server import limits, plan
from servoir.server.register.declarations import DEFAULT_MODEL_BATCH, Declarations, LoadedModel, SubgraphPorts
from servoir.server.register.model import Model

if TYPE_CHECKING:
    from servoir._core import WorkerRuntime
    from servoir.backends import Subgraph


@dataclass(frozen=True)
class LoadedFiles:
    """A declared model with its files opened."""

    model: Model
    subgraphs: Sequence[Subgraph]
    max_batch: int
    backend: str  # "openvino 2026.4.1"

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


def open_all(
    declared: Declarations, servable: str, message: Message, threads: int, key: DecryptionKey | None
) -> list[LoadedFiles]:
    if not declared.models:
        return []
    needs_files = any(model.files for model in declared.models.values())
    directory = version_directory(servable, message["version"]) if needs_files else servable
    return [_open(model, servable, directory, message, threads, key) for model in declared.models.values()]


def _open(
    model: Model, servable: str, directory: str, message: Message, threads: int, key: DecryptionKey | None
) -> LoadedFiles:
    paths = [os.path.join(directory, file) for file in model.files]
    for path in paths:
        if not os.path.isfile(path):
            raise RuntimeError(f"Parameter 'model_file': there is no file '{path}'")
    options = dict(model.context.settings_for(_device(message))) if model.context else {}
    if model.config_file is not None:
        config = os.path.join(servable, model.config_file)
        if not os.path.isfile(config):
            raise RuntimeError(f"Parameter 'config_file' of model '{model.key}': there is no file '{config}'")
        options["config_file"] = config
    if model.context is not None:
        threads = model.context.thread_num or threads
        for setting in ("thread_affinity_core_list", "enable_parallel"):
            if getattr(model.context, setting):
                log.warning(
                    "%s in the Context of model '%s' has no effect: threads are not pinned, and each batch is run by"
                    " all threads of its model",
                    setting,
                    model.key,
                )
    from servoir import backends  # not for workers without models

    device: int | None = message["device_id"]
    if isinstance(model.backend, type):
        opened = backends.open_class(model.backend, paths, threads, device, options, key)
    else:
        opened = backends.open_model(paths, model.model_format, model.backend, threads, device, options, key)
    batch = max_batch(model, opened.subgraphs)
    return LoadedFiles(model, opened.subgraphs, batch, f"{opened.backend} {opened.version}")


def _device(message: Message) -> str:
    """The kind of device that is really used; 'none' is a word of the start configuration for no device but the CPU."""
    given: str | None = message["device_type"]
    return "cpu" if given in (None, "none") else given


def max_batch(model: Model, subgraphs: Sequence[Subgraph]) -> int:
    """Instances in one run: the batch size of the model, the same in all subgraphs; where it is dynamic, what the
    declaration says. 1 without a batch dimension."""
    from servoir import backends

    fixed: int | None = None
    for number, subgraph in enumerate(subgraphs):
        for index in model.without_batch_dim_inputs:
            if index >= len(subgraph.inputs):
                raise RuntimeError(
                    f"Parameter 'without_batch_dim_inputs' of model '{model.key}' has {index}, but subgraph {number}"
                    f" has {len(subgraph.inputs)} inputs, counted from 0"
                )
        try:
            size = backends.batch_size(
                subgraph, with_batch_dim=model.with_batch_dim, unbatched_inputs=model.without_batch_dim_inputs
            )
        except backends.BackendError as error:
            raise RuntimeError(
                f"model '{model.key}', subgraph {number}: {error}; with_batch_dim and without_batch_dim_inputs of its"
                f" declare_model say what has a batch dimension"
            ) from error
        if size is not None and fixed is not None and size != fixed:
            raise RuntimeError(
                f"model '{model.key}': subgraph {number} has the batch size {size}, others have {fixed}; it should be"
                f" the same in all"
            )
        fixed = size if fixed is None else fixed
    wanted = model.max_batch_size
    if fixed is None:
        return wanted or DEFAULT_MODEL_BATCH
    if wanted is not None and wanted > fixed:
        raise RuntimeError(
            f"Parameter 'max_batch_size' of model '{model.key}' is {wanted}, but the model's batch size is {fixed}"
        )
    return wanted or fixed


def _ports(model: Model, subgraph: Subgraph) -> SubgraphPorts:
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
