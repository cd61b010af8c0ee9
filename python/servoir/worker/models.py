"""Opens the declared models through the backends, and finds what the scheduler must know of them."""

from __future__ import annotations

import dataclasses
import faulthandler
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from servoir import log, machine
from servoir.control.messages import Load, Opening, Trying
from servoir.encryption import DecryptionKey
from servoir.servable.declarations import DEFAULT_MODEL_BATCH, Declarations, DeclaredModel, LoadedModel, SubgraphPorts
from servoir.servable.versions import version_directory
from servoir.worker import batch_trial
from servoir.worker.example import read_example
from servoir.worker.warm_up import warm_up

if TYPE_CHECKING:
    from servoir._core import WorkerRuntime
    from servoir.backends import Subgraph
    from servoir.backends.interface import OpenedModel


Tell: TypeAlias = Callable[[Opening | Trying], None]
TRIAL_SECONDS = 120.0  # after which a trial counts as one that hangs


@dataclass(frozen=True)
class LoadedFiles:
    """A declared model with its files opened."""

    model: DeclaredModel
    subgraphs: Sequence[Subgraph]
    max_batch: int
    backend: str  # "openvino 2026.4.1"
    whole_outputs: Sequence[Sequence[int]] = ()  # of each subgraph, the outputs without batch dimension
    refusals: Sequence[str] = ()  # why backends that come before it do not run it

    def loaded(self) -> LoadedModel:
        return LoadedModel(
            [_ports(self.model, subgraph, self._whole(number)) for number, subgraph in enumerate(self.subgraphs)],
            self.max_batch,
        )

    def register(self, runtime: WorkerRuntime, declared: Declarations) -> None:
        from servoir._core import NativeModel
        from servoir.backends.interface import Batching  # not for workers without models

        for number, subgraph in enumerate(self.subgraphs):
            batching = Batching(
                self.max_batch,
                self.model.with_batch_dim,
                self.model.without_batch_dim_inputs,
                tuple(self._whole(number)),
            )
            runnable = subgraph.runnable(batching)
            callee = declared.model_callee(self.model, number)
            if isinstance(runnable, NativeModel):
                runtime.add_native_model(callee, runnable, **dataclasses.asdict(batching))
            else:
                runtime.add_python_model(callee, runnable, **dataclasses.asdict(batching))

    def _whole(self, subgraph: int) -> Sequence[int]:
        return self.whole_outputs[subgraph] if self.whole_outputs else self.model.without_batch_dim_outputs


def threads_per_model(load: Load, models: int) -> int:
    return load.threads or machine.backend_threads(load.usable_cores, load.sharing_workers, models)


def open_all(
    declared: Declarations, load: Load, threads: int, key: DecryptionKey | None, tell: Tell
) -> list[LoadedFiles]:
    """`tell` is called before and after each thing that may end the process."""
    return [open_one(model, load, threads, key, tell) for model in declared.models.values()]


def open_one(model: DeclaredModel, load: Load, threads: int, key: DecryptionKey | None, tell: Tell) -> LoadedFiles:
    servable = os.path.join(load.servable_directory, load.name)
    directory = version_directory(servable, load.version) if model.files else servable
    tell(Opening(model.key))
    files = _open(model, servable, directory, load, threads, key)
    tell(Opening(None))
    whole = _whole_outputs(model, files.backend, files.subgraphs, load, tell)
    batch = max_batch(model, files.subgraphs, whole)
    return LoadedFiles(model, files.subgraphs, batch, f"{files.backend} {files.version}", whole, files.refusals)


def _whole_outputs(
    model: DeclaredModel, backend: str, subgraphs: Sequence[Subgraph], load: Load, tell: Tell
) -> Sequence[Sequence[int]]:
    """Of each subgraph the outputs without batch dimension, after its trial."""
    if model.key in load.untried:
        return [model.without_batch_dim_outputs if model.with_batch_dim else ()] * len(subgraphs)
    tell(Trying(model.key))
    faulthandler.dump_traceback_later(TRIAL_SECONDS, exit=True)
    try:
        whole = []
        for number, subgraph in enumerate(subgraphs):
            example = read_example(model, number, subgraph)
            if not (model.trial and model.with_batch_dim):
                # What a runtime puts off is done now, as no trial does it. Programs of PyTorch, and classes, may keep
                # what they are given.
                made_up = model.trial and backend not in ("torch", "python")
                warm_up(subgraph, model, made_up, example)
            whole.append(batch_trial.whole_outputs(model, number, subgraph, example))
        return whole
    finally:
        faulthandler.cancel_dump_traceback_later()
        tell(Trying(None))


def _open(
    model: DeclaredModel, servable: str, directory: str, load: Load, threads: int, key: DecryptionKey | None
) -> OpenedModel:
    paths = [os.path.join(directory, file) for file in model.files]
    from servoir import backends  # not for workers without models
    from servoir.backends.interface import Placement
    from servoir.backends.model_file import missing_file

    for path in paths:
        if not os.path.isfile(path):
            raise RuntimeError(f"Parameter 'model_file': {missing_file(path)}")

    placement = Placement(device_kind(load.device_type), load.device_id)
    options = dict(model.context.settings_for(placement.kind)) if model.context else {}
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
    if isinstance(model.backend, type):
        opened = backends.open_class(
            model.backend, paths, threads, placement, options, key, model.without_batch_dim_inputs
        )
    else:
        opened = backends.open_model(paths, model.model_format, model.backend, threads, placement, options, key)
    return opened


def device_kind(device_type: str | None) -> str:
    """The kind of device that is really used; 'none' is a word of the start configuration for no device but the CPU."""
    return "cpu" if device_type in (None, "none") else device_type


def max_batch(
    model: DeclaredModel, subgraphs: Sequence[Subgraph], whole_outputs: Sequence[Sequence[int]] | None = None
) -> int:
    """Instances in one run: the batch size of the model, the same in all subgraphs; where it is dynamic, what the
    declaration says. 1 without a batch dimension. `whole_outputs`: of each subgraph, the outputs without batch
    dimension."""
    from servoir import backends

    fixed: int | None = None
    for number, subgraph in enumerate(subgraphs):
        _check_indices(model, number, "inputs", model.without_batch_dim_inputs, len(subgraph.inputs))
        _check_indices(model, number, "outputs", model.without_batch_dim_outputs, len(subgraph.outputs))
        try:
            size = backends.batch_size(
                subgraph,
                with_batch_dim=model.with_batch_dim,
                unbatched_inputs=model.without_batch_dim_inputs,
                unbatched_outputs=whole_outputs[number] if whole_outputs else model.without_batch_dim_outputs,
            )
        except backends.BackendError as error:
            raise RuntimeError(
                f"model '{model.key}', subgraph {number}: {error}; with_batch_dim, without_batch_dim_inputs and"
                f" without_batch_dim_outputs of its declare_model say what has a batch dimension"
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


def _check_indices(model: DeclaredModel, subgraph: int, side: str, indices: Sequence[int], count: int) -> None:
    for index in indices:
        if index >= count:
            raise RuntimeError(
                f"Parameter 'without_batch_dim_{side}' of model '{model.key}' has {index}, but subgraph {subgraph}"
                f" has {count} {side}, counted from 0"
            )


def _ports(model: DeclaredModel, subgraph: Subgraph, whole_outputs: Sequence[int]) -> SubgraphPorts:
    """What the subgraph has, and which of it is one value for a whole batch."""
    return SubgraphPorts(
        [
            {**port, "batched": index not in model.without_batch_dim_inputs}
            for index, port in enumerate(subgraph.inputs)
        ],
        [{**port, "batched": index not in whole_outputs} for index, port in enumerate(subgraph.outputs)],
        getattr(subgraph, "unserved_outputs", {}),
    )
