"""The backend OpenCV DNN: ONNX files, through a native plug-in that has OpenCV inside and needs no other package."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from servoir import log
from servoir.backends.interface import Placement
from servoir.backends.model_file import ModelFile
from servoir.backends.native import NativeSubgraph, device_name, installed_plugin, load_native
from servoir.backends.options import read_options
from servoir.errors import BackendError

if TYPE_CHECKING:
    from servoir._core import NativeBackend


class OpenCvDnn:
    def version(self) -> str:
        return load().version

    def device_kinds(self) -> tuple[str, ...]:
        return ("cpu",)

    def open(self, file: ModelFile, threads: int, placement: Placement, options: Mapping[str, str]) -> NativeSubgraph:
        settings = {"threads": str(threads)}
        for key, value in read_options(options).items():
            if key == "precision_mode":
                if value != "origin":
                    log.warning("precision_mode '%s' has no effect: OpenCV DNN computes as the file says", value)
                continue
            settings[key] = value
        backend = load()
        device = device_name(placement)
        try:
            if file.content is None:
                model = backend.open(file.path, settings, device=device)
            else:
                model = backend.open_in_memory([(file.path, file.content)], settings, device=device)
        except RuntimeError as error:
            raise BackendError(f"OpenCV DNN {backend.version} cannot open '{file.path}': {error}") from error
        return NativeSubgraph(model, file.path)


def search_places() -> list[tuple[str, str]]:
    """OpenCV is inside the plug-in."""
    return []


def plugin() -> str:
    """BackendError, saying how to get it, if it is not there."""
    return installed_plugin("opencv_dnn", "the embedded backend (bash build.sh -e cpu builds it)")


@functools.cache
def load() -> NativeBackend:
    return load_native(plugin(), search_places())
