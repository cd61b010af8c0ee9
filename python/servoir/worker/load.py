"""Carries out the server's Load: imports the configuration, opens the models, registers functions and models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servoir.control.messages import Load, Ready
from servoir.encryption import DecryptionKey
from servoir.servable import declarations
from servoir.servable.config_module import import_config
from servoir.servable.declarations import CallTarget, Declarations
from servoir.servable.spec import ServableSpec
from servoir.worker import models

if TYPE_CHECKING:
    from servoir._core import WorkerRuntime


def load(message: Load, runtime: WorkerRuntime, tell: models.Tell = lambda message: None) -> Ready:
    """Raises whatever the servable's configuration raises. `tell`: see models.open_all."""
    key = None if message.dec_key is None else DecryptionKey(message.dec_key, message.dec_mode)
    declared = declarations.begin()
    import_config(message.servable_directory, message.name)
    declared.check_complete(message.name)
    threads: int | None = None
    opened: list[models.LoadedFiles] = []
    if message.loads_models:
        threads = models.threads_per_model(message, len(declared.models))
        opened = models.open_all(declared, message, threads, key, tell)
        loaded = {model.model.key: model.loaded() for model in opened}
        declared.check_against(loaded)
        spec = declared.spec(message.name, message.version, loaded)
    elif message.spec is None:
        raise RuntimeError("the server has not told the graph of the servable to a worker that loads no models")
    else:
        spec = message.spec
        check_agreement(declared, spec)
    for model in opened:
        model.register(runtime, declared)
    functions = register_functions(declared, runtime)
    bind_models(declared, spec, runtime)
    return Ready(
        spec=spec if message.loads_models else None,
        functions=tuple(functions),
        models=tuple(index for index, callee in enumerate(spec["callees"]) if callee["kind"] == "model" and opened),
        threads=threads,
        backends=tuple(sorted({model.backend for model in opened})),
    )


def check_agreement(declared: Declarations, spec: ServableSpec) -> None:
    """Whether the configuration that this worker has read is the one that `spec` was made of."""
    mine = [(callee.name, callee.inputs, callee.outputs) for callee in declared.functions]
    theirs = [
        (callee["name"], callee["inputs"], callee["outputs"])
        for callee in spec["callees"]
        if callee["kind"] == "function"
    ]
    subgraphs = [(callee["name"], callee["subgraph"]) for callee in spec["callees"] if callee["kind"] == "model"]
    declared_subgraphs = [
        (model.key, index) for model in declared.models.values() for index in range(model.subgraph_count)
    ]
    if mine != theirs or subgraphs != declared_subgraphs or declared.method_specs(spec["callees"]) != spec["methods"]:
        raise RuntimeError(
            "servable_config.py declares other methods here than in the workers with the models; it should declare the"
            " same in every worker and not change while the servable is served"
        )


def register_functions(declared: Declarations, runtime: WorkerRuntime) -> list[int]:
    """The callees of the functions."""
    indices = []
    for callee in declared.functions:
        index = declared.function_callee(callee)
        runtime.add_function(
            index,
            callee.function,
            inputs=callee.inputs,
            outputs=callee.outputs,
            batched=callee.batch_size is not None,
            rerun=callee.rerun,
            name=callee.name,
        )
        indices.append(index)
    return indices


def bind_models(declared: Declarations, spec: ServableSpec, runtime: WorkerRuntime) -> None:
    """Makes Model.call work: the calls go through the server to a worker that has the model."""
    for model in declared.models.values():
        subgraphs = []
        for number in range(model.subgraph_count):
            index = declared.model_callee(model, number)
            callee = spec["callees"][index]
            names = tuple(port["name"] for port in callee["output_ports"])
            subgraphs.append(CallTarget(index, callee["inputs"], names))
        model.bind(subgraphs, runtime.call_model)
