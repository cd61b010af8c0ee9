"""Carries out the server's load message: imports the configuration, opens the models, registers functions and models.

    load := {servable_directory, name, version, device_id | null, device_type | null, loads_models,
             usable_cores, sharing_workers, threads | null, spec | null, dec_key (hexadecimal) | null, dec_mode}

`spec` is the servable's graph for a worker that does not load the models itself; the others make it. Only a worker that
loads models is given the key.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from servoir.control import Message
from servoir.encryption import DecryptionKey
from servoir.server.register import declarations
from servoir.server.register.declarations import Declarations
from servoir.server.register.model import Subgraph
from servoir.worker import models
from servoir.worker.servable import import_config

if TYPE_CHECKING:
    from servoir._core import WorkerRuntime


def load(message: Message, runtime: WorkerRuntime) -> Message:
    """The ready message. Raises whatever the servable's configuration raises."""
    key = _take_key(message)
    declared = declarations.begin()
    name: str = message["name"]
    import_config(message["servable_directory"], name)
    declared.check_complete(name)
    threads: int | None = None
    opened: list[models.LoadedFiles] = []
    if message["loads_models"]:
        threads = models.threads_per_model(message, len(declared.models))
        opened = models.open_all(declared, os.path.join(message["servable_directory"], name), message, threads, key)
        loaded = {model.model.key: model.loaded() for model in opened}
        declared.check_against(loaded)
        spec = declared.spec(name, message["version"], loaded)
    else:
        spec = message["spec"]
        check_agreement(declared, spec)
    for model in opened:
        model.register(runtime, declared)
    functions = register_functions(declared, runtime)
    bind_models(declared, spec, runtime)
    return {
        "type": "ready",
        "spec": spec if message["loads_models"] else None,
        "functions": functions,
        "models": [index for index, callee in enumerate(spec["callees"]) if callee["kind"] == "model" and opened],
        "threads": threads,
        "backends": sorted({model.backend for model in opened}),
    }


def _take_key(message: Message) -> DecryptionKey | None:
    """Takes it out of the message, which other code sees."""
    key: str | None = message.pop("dec_key", None)
    return None if key is None else DecryptionKey(bytes.fromhex(key), message["dec_mode"])


def check_agreement(declared: Declarations, spec: dict[str, Any]) -> None:
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
    if mine != theirs or subgraphs != declared_subgraphs or declared.method_specs() != spec["methods"]:
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
            name=callee.name,
        )
        indices.append(index)
    return indices


def bind_models(declared: Declarations, spec: dict[str, Any], runtime: WorkerRuntime) -> None:
    """Makes Model.call work: the calls go through the server to whoever has the model."""
    for model in declared.models.values():
        subgraphs = []
        for number in range(model.subgraph_count):
            index = declared.model_callee(model, number)
            callee = spec["callees"][index]
            subgraphs.append(Subgraph(index, callee["inputs"], callee["outputs"]))
        model.bind(subgraphs, runtime.call_model)
