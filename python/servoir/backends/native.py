"""What native backends share: where their plug-ins are, and a model that a plug-in has opened."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from servoir._core import NativeModel
from servoir.backends.model import Array, Port, warm_up

if TYPE_CHECKING:
    from servoir._core import WorkerRuntime

_PLUGINS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "plugins")


def plugin_path(backend: str) -> str:
    """The plug-in's file; SERVOIR_PLUGIN_DIR names another directory than the package's own."""
    return os.path.join(os.environ.get("SERVOIR_PLUGIN_DIR") or _PLUGINS, f"libservoir_{backend}.so")


def recorded_directories(backend: str) -> list[str]:
    """The backend's library directories that the build was given, or found."""
    path = os.path.join(os.environ.get("SERVOIR_PLUGIN_DIR") or _PLUGINS, "backend_dirs.json")
    try:
        with open(path, encoding="utf-8") as file:
            return [str(directory) for directory in json.load(file)["directories"].get(backend, [])]
    except FileNotFoundError:
        return []


class NativeSubgraph:
    """A model's file opened by a native backend."""

    def __init__(self, model: NativeModel, path: str) -> None:
        self._model = model
        self._name = os.path.basename(path)
        self.inputs: list[Port] = model.inputs
        self.outputs: list[Port] = model.outputs

    def execute_copied(self, inputs: Sequence[Array]) -> list[Array]:
        return self._model.execute(inputs)

    def register(
        self,
        runtime: WorkerRuntime,
        callee: int,
        *,
        max_batch: int,
        with_batch_dim: bool,
        unbatched_inputs: Sequence[int],
    ) -> None:
        warm_up(self, self._name)
        runtime.add_native_model(
            callee, self._model, max_batch=max_batch, with_batch_dim=with_batch_dim, unbatched_inputs=unbatched_inputs
        )
