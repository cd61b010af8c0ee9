"""The backend OpenVINO: ONNX and IR files (.xml with its .bin), through the native plug-in.

The plug-in opens OpenVINO's own libraries itself. They are looked for, in this order: where SERVOIR_OPENVINO_DIR
says (a directory or the library's file), in the Python package openvino, in the loader's own paths. What build.sh -p
was given comes before or after the Python package, see recorded.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from servoir import settings
from servoir.backends.external_data import content_without_links
from servoir.backends.interface import Placement
from servoir.backends.model_file import ModelFile, read_model_file, weights_path
from servoir.backends.native import NativeSubgraph, device_name, installed_plugin, load_native, plugin_directory
from servoir.backends.options import read_options
from servoir.backends.recorded import PLACE, recorded_directories
from servoir.errors import BackendError

if TYPE_CHECKING:
    from servoir._core import NativeBackend

_PRECISIONS = {"origin": "f32", "fp16": "f16"}
# Larger ONNX files are not read into memory, where they would be several times for a while.
_LARGEST_READ = 128 << 20
_EXTERNAL_DATA = b"\n\x08location\x12"  # the key that is in each tensor of an ONNX file that lies in another file


class OpenVino:
    def version(self) -> str:
        return load().version

    def device_kinds(self) -> tuple[str, ...]:
        return ("cpu",)

    def open(self, file: ModelFile, threads: int, placement: Placement, options: Mapping[str, str]) -> NativeSubgraph:
        settings = {"threads": str(threads)}
        device = device_name(placement)
        for key, value in read_options(options).items():
            if key == "precision_mode":
                settings["INFERENCE_PRECISION_HINT"] = _PRECISIONS[value]
            elif key == "device":
                device = value
            else:
                settings[key] = value
        backend = load()
        file = _whole(file)
        files = [file, *_weights(file)]
        linked = content_without_links(file.path, root="/") if file.content is None and len(files) == 1 else None
        try:
            if linked is not None:
                with _root_as_current_directory():
                    model = backend.open_in_memory([(file.path, linked)], settings, device=device)
            elif file.content is None:
                companions = [other.path for other in files[1:]]
                model = backend.open(file.path, settings, device=device, companions=companions)
            else:
                contents = [(one.path, one.content) for one in files if one.content is not None]
                model = backend.open_in_memory(contents, settings, device=device)
        except RuntimeError as error:
            raise BackendError(f"OpenVINO {backend.version} cannot open '{file.path}': {error}") from error
        return NativeSubgraph(model, file.path)


def _whole(file: ModelFile) -> ModelFile:
    """With the content of an ONNX file that has all its tensors in it. OpenVINO 2026.4 reads ONNX by path otherwise
    than from memory: it loses inputs that have no elements, and does not know NegativeLogLikelihoodLoss with
    ignore_index."""
    if file.content is not None or re.match(rb"(\xef\xbb\xbf)?\s*<", file.head()):  # an IR
        return file
    if os.path.getsize(file.path) > _LARGEST_READ:
        return file
    with open(file.path, "rb") as opened:
        content = opened.read()
    return file if _EXTERNAL_DATA in content else dataclasses.replace(file, content=content)


@contextlib.contextmanager
def _root_as_current_directory() -> Iterator[None]:
    """OpenVINO takes the current directory for that of a model in memory, and refuses files outside of it."""
    before = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chdir("/")
        yield
    finally:
        os.fchdir(before)
        os.close(before)


def _weights(file: ModelFile) -> list[ModelFile]:
    """The file with the weights, if there is one; encrypted like the model's file, or not at all, as that."""
    path = weights_path(file.path)
    return [read_model_file(path, file.key)] if path is not None and os.path.isfile(path) else []


def search_places() -> list[tuple[str, str]]:
    """Directories (or files) where OpenVINO's libraries may be, in order, each with the reason."""
    places = []
    if given := settings.OPENVINO_DIR.read():
        places.append((given, settings.OPENVINO_DIR.variable))
    recorded = recorded_directories(plugin_directory(), "openvino")
    places += [(directory, PLACE) for directory in recorded.first]
    spec = importlib.util.find_spec("openvino")
    for root in (spec.submodule_search_locations or []) if spec else []:
        places.append((os.path.join(root, "libs"), "the Python package openvino"))
    places += [(directory, PLACE) for directory in recorded.last]
    return places


def plugin() -> str:
    """BackendError, saying how to get it, if it is not there."""
    return installed_plugin("openvino", "OpenVINO's headers (bash build.sh -p <site-packages>/openvino/libs builds it)")


@functools.cache
def load() -> NativeBackend:
    path = plugin()
    # oneDNN inside it keeps 1024 more, in addition to OpenVINO's own (see instance.cc). It reads this when it is first
    # used.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    try:
        return load_native(path, search_places())
    except BackendError as error:
        raise BackendError(f"{error}\n(pip install 'servoir[openvino]', or set SERVOIR_OPENVINO_DIR)") from error
