"""Backends: the runtimes that execute models.

    backend       formats            how
    openvino      OpenVINO IR, ONNX  native plug-in, no Python on the way of a batch
    onnxruntime   ONNX               Python package, in place on the arena
    opencv_dnn    ONNX               native plug-in with OpenCV inside, where the wheel was built with it
    mindspore     MindIR             Python package
    torch         TorchScript,       Python package, reads the arena in place
                  torch.export

A class of the user's own is run by `python`, see python_class.py; it is given as `backend=` of declare_model().
Where several can run a file, the first in this table that is installed and opens it is taken; `backend=` of
declare_model() names one and allows no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from servoir import log
from servoir.backends.file_format import REFUSED_FORMATS, file_format
from servoir.backends.model import Backend, BackendError, OpenedModel, Port, Subgraph, batch_size
from servoir.backends.model_file import ModelFile, read_model_file
from servoir.backends.python_class import open_class
from servoir.backends.tested_versions import warn_if_untested
from servoir.encryption import DecryptionKey

__all__ = [
    "BackendError",
    "OpenedModel",
    "Port",
    "Subgraph",
    "able_backends",
    "backend_names",
    "batch_size",
    "open_class",
    "open_model",
]


def _openvino() -> Backend:
    from servoir.backends.openvino import OpenVino

    return OpenVino()


def _onnxruntime() -> Backend:
    from servoir.backends.onnxruntime import OnnxRuntime

    return OnnxRuntime()


def _opencv_dnn() -> Backend:
    from servoir.backends.opencv_dnn import OpenCvDnn

    return OpenCvDnn()


def _mindspore() -> Backend:
    from servoir.backends.mindspore import MindSpore

    return MindSpore()


def _torch() -> Backend:
    from servoir.backends.torch import Torch

    return Torch()


# In order of preference. Each is imported when it is wanted.
_BACKENDS: dict[str, Callable[[], Backend]] = {
    "openvino": _openvino,
    "onnxruntime": _onnxruntime,
    "opencv_dnn": _opencv_dnn,
    "mindspore": _mindspore,
    "torch": _torch,
}
# Names of formats that users know them by.
_FORMATS = {"onnx": "onnx", "openvino": "openvino", "ir": "openvino", "mindir": "mindir"}
_FORMATS |= {"torchscript": "torchscript", "exportedprogram": "exportedprogram"}
# Archives, of which no other backend can make anything.
_BY_CONTENT = {"torchscript", "exportedprogram"}


def backend_names() -> tuple[str, ...]:
    return tuple(_BACKENDS)


def open_model(
    paths: Sequence[str],
    model_format: str | None,
    backend: str | None,
    threads: int,
    device_id: int | None,
    options: Mapping[str, str],
    key: DecryptionKey | None = None,
) -> OpenedModel:
    """Opens a model's files, subgraph by subgraph, all with one backend.

    `model_format` None: the files' content decides. `threads`: CPU threads that one batch may use. `key`: all the
    files are encrypted with it. BackendError (a RuntimeError) says, for each backend that could have done it, why it
    did not.
    """
    files = [read_model_file(path, key) for path in paths]
    formats = {_format(file, model_format) for file in files}
    candidates = _candidates(formats, backend)
    refusals = []
    for candidate in candidates:
        try:
            version = candidate.version()
            warn_if_untested(candidate.name, version)
            opened = [candidate.open(file, threads, device_id, options) for file in files]
        except BackendError as error:
            refusals.append(f"{candidate.name}: {error}")
            continue
        if refusals:
            log.warning("the model is run by %s instead, because of: %s", candidate.name, "; ".join(refusals))
        log.info("backend %s %s runs %s on %d threads", candidate.name, version, ", ".join(paths), threads)
        return OpenedModel(candidate.name, version, opened)
    raise BackendError("\n".join([f"no backend can run {', '.join(repr(path) for path in paths)}", *refusals]))


def able_backends(
    files: Sequence[ModelFile], model_format: str | None, backend: str | None
) -> tuple[list[str], list[str]]:
    """The formats of these files, and the backends that run them if they are there, in order. None of them is loaded.
    BackendError as of open_model()."""
    formats = {_format(file, model_format) for file in files}
    return sorted(formats), [candidate.name for candidate in _candidates(formats, backend)]


def _format(file: ModelFile, given: str | None) -> str:
    if given is None:
        return file_format(file)
    known = _FORMATS.get(given.lower())
    if known is None:
        because = f" ({REFUSED_FORMATS[given.lower()]})" if given.lower() in REFUSED_FORMATS else ""
        raise BackendError(
            f"no backend for the format {given} of '{file.path}' is there{because}; there are some for"
            f" {', '.join(sorted(set(_FORMATS.values())))}"
        )
    if known in _BY_CONTENT and (found := file_format(file)) != known:
        raise BackendError(f"'model_format' of '{file.path}' is {given}, but its content is of the format {found}")
    if file.mindspore_mode is not None and known != "mindir":
        raise BackendError(
            f"the model file '{file.path}' is encrypted by MindSpore, so its format is MindIR, but 'model_format' is"
            f" {given}"
        )
    return known


def _candidates(formats: set[str], wanted: str | None) -> list[Backend]:
    if wanted is not None and wanted not in _BACKENDS:
        raise BackendError(f"there is no backend '{wanted}'; there are {', '.join(_BACKENDS)}")
    made = [make() for name, make in _BACKENDS.items() if wanted in {None, name}]
    able = [candidate for candidate in made if formats <= set(candidate.formats)]
    if not able:
        names = ", ".join(f"{candidate.name} ({', '.join(candidate.formats)})" for candidate in made)
        raise BackendError(f"no backend runs the format {' and '.join(sorted(formats))}: {names}")
    return able
