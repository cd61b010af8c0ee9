"""The backend OpenVINO: ONNX and IR files (.xml with its .bin), through the native plug-in.

The plug-in opens OpenVINO's own libraries itself. They are looked for, in this order: where SERVOIR_OPENVINO_DIR
says (a directory or the library's file), where the build had them, in the Python package openvino, in the loader's own
paths.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Mapping

from servoir._core import NativeBackend
from servoir.backends.model import BackendError
from servoir.backends.model_file import ModelFile, read_model_file, weights_path
from servoir.backends.native import BUILD_PLACE, NativeSubgraph, load_native, plugin_path, recorded_directories
from servoir.backends.options import read_options

_PRECISIONS = {"origin": "f32", "fp16": "f16"}


class OpenVino:
    name = "openvino"
    formats: tuple[str, ...] = ("openvino", "onnx")

    def version(self) -> str:
        return load().version

    def open(self, file: ModelFile, threads: int, device_id: int | None, options: Mapping[str, str]) -> NativeSubgraph:
        settings = {"threads": str(threads)}
        device = "CPU"
        for key, value in read_options(options).items():
            if key == "precision_mode":
                settings["INFERENCE_PRECISION_HINT"] = _PRECISIONS[value]
            elif key == "device":
                device = value
            else:
                settings[key] = value
        backend = load()
        files = [file, *_weights(file)]
        try:
            if file.content is None:
                companions = [other.path for other in files[1:]]
                model = backend.open(file.path, settings, device=device, companions=companions)
            else:
                contents = [(one.path, one.content) for one in files if one.content is not None]
                model = backend.open_in_memory(contents, settings, device=device)
        except RuntimeError as error:
            raise BackendError(f"OpenVINO {backend.version} cannot open '{file.path}': {error}") from error
        return NativeSubgraph(model, file.path)


def _weights(file: ModelFile) -> list[ModelFile]:
    """The file with the weights, if there is one; encrypted like the model's file, or not at all, as that."""
    path = weights_path(file.path)
    return [read_model_file(path, file.key)] if path is not None and os.path.isfile(path) else []


def search_places() -> list[tuple[str, str]]:
    """Directories (or files) where OpenVINO's libraries may be, in order, each with the reason."""
    places = []
    if given := os.environ.get("SERVOIR_OPENVINO_DIR"):
        places.append((given, "SERVOIR_OPENVINO_DIR"))
    places += [(directory, BUILD_PLACE) for directory in recorded_directories("openvino")]
    spec = importlib.util.find_spec("openvino")
    for root in (spec.submodule_search_locations or []) if spec else []:
        places.append((os.path.join(root, "libs"), "the Python package openvino"))
    return places


def plugin() -> str:
    """BackendError, saying how to get it, if it is not there."""
    path = plugin_path("openvino")
    if not os.path.isfile(path):
        raise BackendError(
            f"the plug-in '{path}' is not there: this Servoir was built without OpenVINO's headers (bash build.sh -p"
            f" <site-packages>/openvino/libs builds it)"
        )
    return path


@functools.cache
def load() -> NativeBackend:
    path = plugin()
    try:
        return load_native(path, search_places())
    except BackendError as error:
        raise BackendError(f"{error}\n(pip install 'servoir[openvino]', or set SERVOIR_OPENVINO_DIR)") from error
