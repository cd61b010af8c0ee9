"""What native backends share: where their plug-ins are, how they are loaded, and a model that a plug-in has opened.

A plug-in, and its runtime's libraries, are loaded by the program servoir_trial_load first, in a process of its own, so
that one that crashes or hangs is refused like one that is missing. SERVOIR_TRIAL_SECONDS says how long that may take.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from servoir import log
from servoir._core import NativeBackend, NativeModel
from servoir.backends.model import Array, BackendError, Port, warm_up
from servoir.server import limits

if TYPE_CHECKING:
    from servoir._core import WorkerRuntime

_PLUGINS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "plugins")


BUILD_PLACE = "the build had it there"  # why recorded_directories() are looked at


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


def trial_program() -> str:
    """It is always the package's own, whatever SERVOIR_PLUGIN_DIR says."""
    return os.path.join(_PLUGINS, "servoir_trial_load")


def trial_seconds() -> int:
    """How long a library may take to load. MindSpore takes some when its files are not in memory yet."""
    return limits.environment_number("SERVOIR_TRIAL_SECONDS") or 60


def load_native(plugin: str, places: Sequence[tuple[str, str]]) -> NativeBackend:
    """BackendError with all that was tried."""
    try:
        loaded = NativeBackend.load(plugin, places, trial_program=trial_program(), trial_seconds=trial_seconds())
    except RuntimeError as error:
        raise BackendError(str(error)) from error
    for one in loaded.refused:
        # A wheel that was built elsewhere names directories that need not be here.
        usual = one["place"] == BUILD_PLACE and one["reason"] == "does not exist"
        write = log.info if usual else log.warning
        write("%s is not taken from %s (%s): it %s", loaded.name, one["path"], one["place"], one["reason"])
    if loaded.warning:
        log.warning(
            "%s and its libraries were loaded without a trial in a process of their own: %s; install Servoir again",
            plugin,
            loaded.warning,
        )
    return loaded


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
