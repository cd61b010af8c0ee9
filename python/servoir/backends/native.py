"""What native backends share: where their plug-ins are, how they are loaded, and a model that a plug-in has opened.

A plug-in, and its runtime's libraries, are first loaded by the program servoir_trial_load, in a process of its own, so
that a library that crashes or hangs is refused like a missing one. SERVOIR_TRIAL_SECONDS says how long that may take.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from servoir import _core, log, settings
from servoir.backends import recorded
from servoir.backends.interface import Array, Batching, Placement
from servoir.errors import BackendError
from servoir.servable.spec import Port

if TYPE_CHECKING:
    from servoir._core import NativeBackend, NativeModel

_PLUGINS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "plugins")


def plugin_directory() -> str:
    """The package's own, or what SERVOIR_PLUGIN_DIR names."""
    return settings.PLUGIN_DIR.read() or _PLUGINS


def plugin_path(backend: str) -> str:
    """The plug-in's file."""
    return os.path.join(plugin_directory(), f"libservoir_{backend}.so")


def installed_plugin(backend: str, remedy: str) -> str:
    """Its file. BackendError if it is not there, with the remedy to continue "this Servoir was built without …"."""
    path = plugin_path(backend)
    if not os.path.isfile(path):
        raise BackendError(f"the plug-in '{path}' is not there: this Servoir was built without {remedy}")
    return path


def trial_program() -> str:
    """It is always the package's own, whatever SERVOIR_PLUGIN_DIR says."""
    return os.path.join(_PLUGINS, "servoir_trial_load")


def trial_seconds() -> int:
    """How long a library may take to load. MindSpore takes some when its files are not in memory yet."""
    return settings.TRIAL_SECONDS.value()


def load_native(plugin: str, places: Sequence[tuple[str, str]]) -> NativeBackend:
    """BackendError with all that was tried."""
    try:
        loaded = _core.NativeBackend.load(plugin, places, trial_program=trial_program(), trial_seconds=trial_seconds())
    except RuntimeError as error:
        raise BackendError(str(error)) from error
    for one in loaded.refused:
        # A wheel that was built elsewhere names directories that need not be here.
        usual = one["place"] == recorded.PLACE and one["reason"] == "does not exist"
        write = log.info if usual else log.warning
        write("%s is not taken from %s (%s): it %s", loaded.name, one["path"], one["place"], one["reason"])
    if loaded.warning:
        log.warning(
            "%s and its libraries were loaded without a trial in a process of their own: %s; install Servoir again",
            plugin,
            loaded.warning,
        )
    return loaded


def device_name(placement: Placement) -> str:
    """What plug-ins call the device (cpp/include/servoir/backend.h): "CPU", "GPU.1"."""
    kind = placement.kind.upper()
    # There is one CPU, however many workers the start configuration puts on it.
    return kind if placement.kind == "cpu" or placement.index is None else f"{kind}.{placement.index}"


class NativeSubgraph:
    """A model's file opened by a native backend."""

    def __init__(self, model: NativeModel, path: str) -> None:
        self._model = model
        self._name = os.path.basename(path)
        self.inputs: list[Port] = model.inputs
        self.outputs: list[Port] = model.outputs

    def execute_copied(self, inputs: Sequence[Array]) -> list[Array]:
        return self._model.execute(inputs)

    def runnable(self, batching: Batching) -> NativeModel:
        del batching  # any will do
        return self._model
