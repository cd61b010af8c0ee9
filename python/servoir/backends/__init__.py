"""Backends: the runtimes that execute models. catalogue.json has a record of each.

A class of the user's own is run by `python`, see python_class.py; it is given as `backend=` of declare_model().
Where several can run a file, the first in the catalogue that is installed and opens it is taken; `backend=` of
declare_model() names one and allows no other.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence

from servoir import log
from servoir.backends.batching import batch_size
from servoir.backends.catalogue import BackendRecord, records
from servoir.backends.deviations import deviations_in
from servoir.backends.file_format import REFUSED_FORMATS, file_format
from servoir.backends.interface import CPU, Backend, OpenedModel, Placement, Subgraph
from servoir.backends.model_file import ModelFile, read_model_file
from servoir.backends.onnx_graph import read_graph
from servoir.backends.python_class import open_class
from servoir.backends.tested_versions import warn_if_untested
from servoir.encryption import DecryptionKey
from servoir.errors import BackendError
from servoir.servable.spec import Port

__all__ = [
    "CPU",
    "BackendError",
    "OpenedModel",
    "Placement",
    "Port",
    "Subgraph",
    "able_backends",
    "backend_names",
    "backend_of",
    "batch_size",
    "device_kinds",
    "open_class",
    "open_model",
]


# Of formats, which users may know by another name.
_OTHER_NAMES = {"ir": "openvino"}
# Archives, of which no other backend can make anything.
_BY_CONTENT = {"torchscript", "exportedprogram"}


def backend_names() -> tuple[str, ...]:
    """In order of precedence."""
    return tuple(records())


def open_model(
    paths: Sequence[str],
    model_format: str | None,
    backend: str | None,
    threads: int,
    placement: Placement,
    options: Mapping[str, str],
    key: DecryptionKey | None = None,
) -> OpenedModel:
    """Opens a model's files, subgraph by subgraph, all with one backend.

    `model_format` None: the files' content decides. `threads`: CPU threads that one batch may use. `placement`: the
    device to run on. `key`: all the
    files are encrypted with it. BackendError (a RuntimeError) says, for each backend that could have done it, why it
    did not.
    """
    files = [read_model_file(path, key) for path in paths]
    formats = {_format(file, model_format) for file in files}
    candidates, inexact = _exact_first(_candidates(formats, backend), files, formats)
    refusals = []
    for record in candidates:
        try:
            candidate = backend_of(record)
            if placement.kind not in candidate.device_kinds():
                kinds = ", ".join(candidate.device_kinds())
                raise BackendError(f"runs models on devices of the kind {kinds}, not on '{placement.kind}'")
            version = candidate.version()
            warn_if_untested(record.name, version)
            opened = [candidate.open(file, threads, placement, options) for file in files]
        except BackendError as error:
            refusals.append(f"{record.name}: {error}")
            continue
        names = backend_names()
        before = names[: names.index(record.name) + 1]
        if reasons := [*(text for name, text in inexact.items() if name in before), *refusals]:
            although = "all the same" if record.name in inexact else "instead"
            log.warning("the model is run by %s %s, because of: %s", record.name, although, "; ".join(reasons))
        log.info("backend %s %s runs %s on %d threads", record.name, version, ", ".join(paths), threads)
        return OpenedModel(record.name, version, opened, tuple(refusals))
    raise BackendError("\n".join([f"no backend can run {', '.join(repr(path) for path in paths)}", *refusals]))


def _exact_first(
    candidates: Sequence[BackendRecord], files: Sequence[ModelFile], formats: set[str]
) -> tuple[list[BackendRecord], dict[str, str]]:
    """The backends that compute the files as ONNX says come first. For each of the others, what it does instead."""
    texts: dict[str, str] = {}
    if formats == {"onnx"}:
        graphs = [graph for graph in map(read_graph, files) if graph is not None]
        for record in candidates:
            found = [text for graph in graphs for text in deviations_in(graph, record.name)]
            if found:
                more = f", and {len(found) - 3} more" if len(found) > 3 else ""
                texts[record.name] = f"{record.name} computes otherwise than ONNX says: {', '.join(found[:3])}{more}"
    return sorted(candidates, key=lambda record: record.name in texts), texts


def backend_of(record: BackendRecord) -> Backend:
    """Its module is imported when the backend is wanted; its runtime is not."""
    module, _, name = record.class_path.rpartition(".")
    made: Backend = getattr(importlib.import_module(module), name)()
    return made


def device_kinds() -> tuple[str, ...]:
    """The kinds of devices that at least one backend can run models on. No runtime is loaded."""
    kinds = [kind for record in records().values() for kind in backend_of(record).device_kinds()]
    return tuple(dict.fromkeys(kinds))


def able_backends(
    files: Sequence[ModelFile], model_format: str | None, backend: str | None
) -> tuple[list[str], list[str]]:
    """The formats of these files, and the backends that run them if they are there, in order. None of them is loaded.
    BackendError as of open_model()."""
    formats = {_format(file, model_format) for file in files}
    candidates, _ = _exact_first(_candidates(formats, backend), files, formats)
    return sorted(formats), [record.name for record in candidates]


def _format(file: ModelFile, given: str | None) -> str:
    if given is None:
        return file_format(file)
    formats = {name for record in records().values() for name in record.formats}
    known = _OTHER_NAMES.get(given.lower(), given.lower())
    if known not in formats:
        because = f" ({REFUSED_FORMATS[given.lower()]})" if given.lower() in REFUSED_FORMATS else ""
        raise BackendError(
            f"no backend for the format {given} of '{file.path}' is there{because}; there are some for"
            f" {', '.join(sorted(formats))}"
        )
    if known in _BY_CONTENT and (found := file_format(file)) != known:
        raise BackendError(f"'model_format' of '{file.path}' is {given}, but its content is of the format {found}")
    if file.mindspore_mode is not None and known != "mindir":
        raise BackendError(
            f"the model file '{file.path}' is encrypted by MindSpore, so its format is MindIR, but 'model_format' is"
            f" {given}"
        )
    return known


def _candidates(formats: set[str], wanted: str | None) -> list[BackendRecord]:
    if wanted is not None and wanted not in records():
        raise BackendError(f"there is no backend '{wanted}'; there are {', '.join(records())}")
    possible = [record for record in records().values() if wanted in {None, record.name}]
    able = [record for record in possible if formats <= set(record.formats)]
    if not able:
        names = ", ".join(f"{record.name} ({', '.join(record.formats)})" for record in possible)
        raise BackendError(f"no backend runs the format {' and '.join(sorted(formats))}: {names}")
    return able
