"""The backend MindSpore: MindIR files through the Python package mindspore (2.7 to 2.10), on the CPU.

A MindIR file is a protobuf message, as mindspore.export(…, file_format="MINDIR") writes it. What it says of its inputs
and outputs is read with MindSpore's own classes, and a GraphCell runs it. Files that mindspore.export has encrypted
(enc_key) are decrypted by MindSpore, those of `servoir encrypt` by us; neither comes to lie on disk.
"""

from __future__ import annotations

import importlib
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from servoir import log
from servoir.backends.interface import Array, Batching, Placement
from servoir.backends.model_file import ModelFile
from servoir.backends.options import read_options
from servoir.backends.process_threads import ProcessThreads
from servoir.backends.python_package import import_package
from servoir.backends.tested_versions import tested_range
from servoir.errors import BackendError
from servoir.servable.spec import DYNAMIC, Port

_SUFFIX = ".mindir"  # without it MindSpore opens no file
_UNKNOWN_RANK = -2  # a shape of this one number
# What MindSpore calls a device, by its kind.
_TARGETS = {"cpu": "CPU"}
_DTYPES = {
    "BOOL": "bool",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT16": "int16",
    "UINT16": "uint16",
    "INT32": "int32",
    "UINT32": "uint32",
    "INT64": "int64",
    "UINT64": "uint64",
    "FLOAT16": "float16",
    "FLOAT": "float32",
    "DOUBLE": "float64",
    "FLOAT64": "float64",
}
_threads = ProcessThreads("MindSpore")
# MindSpore releases the interpreter lock, and takes it again in the name of the thread that called it last: two threads
# that are in it at the same time wait for each other for ever.
_one_at_a_time = threading.Lock()
# What MindSpore says of every batch that comes after a batch that failed.
_RUNS_NO_MORE = "An error occurred in the previous step of this model execution"


class MindSpore:
    def version(self) -> str:
        version = str(_package().__version__)
        found = re.match(r"[0-9]+", version)
        if not found or int(found[0]) < 2:
            raise BackendError(
                f"the package mindspore is {version}; {tested_range('mindspore')} can be used: pip install"
                f" 'servoir[mindspore]'"
            )
        return version

    def device_kinds(self) -> tuple[str, ...]:
        return tuple(_TARGETS)

    def open(self, file: ModelFile, threads: int, placement: Placement, options: Mapping[str, str]) -> MindSporeModel:
        for key, value in read_options(options).items():
            if key != "precision_mode":
                raise BackendError(
                    f"'{key}' of the config_file is unknown: MindSpore takes no settings from a file here"
                )
            if value != "origin":
                log.warning("precision_mode '%s' has no effect: MindSpore computes as the file says", value)
        if not file.path.endswith(_SUFFIX):
            raise BackendError(
                f"MindSpore opens only files whose names end with '{_SUFFIX}', not '{file.path}'; rename it"
            )
        package = _package()
        _set_up(package, threads, placement)
        inputs, outputs = _ports(_content(file), file.path)

        def load() -> Any:
            cell = package.nn.GraphCell(package.load(file.path, **_decryption(file)))
            if any(port["shape"] is None or DYNAMIC in port["shape"] for port in inputs):
                # Else each new shape is compiled.
                cell.set_inputs(*(_dynamic(package, port) for port in inputs))
            return cell

        try:
            return MindSporeModel(package, load, file.path, inputs, outputs)
        except Exception as error:  # its exceptions have no base class of their own
            raise BackendError(f"MindSpore cannot open '{file.path}': {error}") from error


def _package() -> Any:
    return import_package("mindspore")


def _set_up(package: Any, threads: int, placement: Placement) -> None:
    """Device and threads are settings of the process: those of the model that is opened first."""
    if not _threads.decide(threads):
        return
    package.set_context(mode=package.GRAPH_MODE)
    package.set_device(_TARGETS[placement.kind])
    package.device_context.cpu.op_tuning.threads_num(threads)


def _decryption(file: ModelFile) -> dict[str, Any]:
    """Keywords for mindspore.load."""
    if file.content is not None:
        assert file.key is not None
        content = file.content
        return {"dec_key": file.key.key, "dec_mode": lambda path, key: content}
    if file.mindspore_mode is not None:
        assert file.key is not None
        return {"dec_key": file.key.key, "dec_mode": file.key.mode}
    return {}


def _content(file: ModelFile) -> bytes:
    if file.content is not None:
        return file.content
    if file.mindspore_mode is not None:
        assert file.key is not None
        # The function by which MindSpore opens encrypted checkpoints; a MindIR is encrypted in the same way.
        decrypt = importlib.import_module("mindspore._c_expression")._decrypt
        content: bytes | None = decrypt(file.path, file.key.key, len(file.key.key), file.key.mode)
        if not content:
            raise BackendError(
                f"MindSpore cannot decrypt '{file.path}': it was encrypted with another key than the one given (of"
                f" {len(file.key.key)} bytes), or was changed since"
            )
        return content
    with open(file.path, "rb") as plain:
        return plain.read()


def _ports(content: bytes, path: str) -> tuple[list[Port], list[Port]]:
    messages = importlib.import_module("mindspore.train.mind_ir_pb2")
    model = messages.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception as error:  # DecodeError of protobuf, a package that is MindSpore's
        raise BackendError(f"'{path}' is truncated, or no MindIR file: {error}") from error
    if not model.graph.output:
        raise BackendError(f"'{path}' is a MindIR file without outputs; it seems to be truncated")
    type_name = messages.TensorProto.DataType.Name

    def port(name: str, side: str, tensors: Sequence[Any]) -> Port:
        number = tensors[0].data_type if len(tensors) == 1 else 0
        dtype = _DTYPES.get(type_name(number))
        if dtype is None:
            what = f"type {type_name(number)}" if tensors else "something else than a tensor"
            raise BackendError(f"'{path}': {side} '{name}' has {what}, which cannot be served")
        dims = list(tensors[0].dims)
        shape = None if _UNKNOWN_RANK in dims else [dim if dim >= 0 else DYNAMIC for dim in dims]
        return {"name": name, "dtype": dtype, "shape": shape}

    inputs = [port(_short_name(value.name), "input", value.tensor) for value in model.graph.input]
    outputs: list[Port] = []
    for value in model.graph.output:
        if value.tensor:
            outputs.append(port(f"output_{len(outputs)}", "output", value.tensor))
        else:
            for tensors in _leaves(value.attr_info):
                outputs.append(port(f"output_{len(outputs)}", "output", tensors))
    return inputs, outputs


def _short_name(name: str) -> str:
    """ "14_1___main___Net_construct_9:x" → "x"."""
    return name.rpartition(":")[2]


def _leaves(attribute: Any) -> Iterator[Sequence[Any]]:
    """The tensors of a tuple of tensors and tuples, in order; a leaf that is none gives an empty list."""
    if attribute.values:
        for value in attribute.values:
            yield from _leaves(value)
    else:
        yield attribute.tensors


def _dynamic(package: Any, port: Port) -> Any:
    shape, dtype = port["shape"], port["dtype"]
    assert dtype is not None  # _ports() refuses what has none
    dims = None if shape is None else [None if dim == DYNAMIC else dim for dim in shape]
    return package.Tensor(shape=dims, dtype=getattr(package, _mindspore_name(dtype)))


def _mindspore_name(dtype: str) -> str:
    return "bool_" if dtype == "bool" else dtype


def _flat(results: Any) -> Iterator[Any]:
    if isinstance(results, tuple | list):
        for result in results:
            yield from _flat(result)
    else:
        yield results


class MindSporeModel:
    def __init__(
        self, package: Any, load: Callable[[], Any], path: str, inputs: list[Port], outputs: list[Port]
    ) -> None:
        self._load = load
        self._cell = load()
        self._tensor = package.Tensor
        self._name = os.path.basename(path)
        self.inputs = inputs
        self.outputs = outputs

    def runnable(self, batching: Batching) -> MindSporeModel:
        del batching  # any will do
        return self

    def execute(self, inputs: list[Array], outputs: list[Array | None]) -> list[Array | None]:
        """See WorkerRuntime.add_python_model."""
        del outputs  # MindSpore has no way to say where results should go
        return list(self.execute_copied(inputs))

    def execute_copied(self, inputs: Sequence[Array]) -> list[Array]:
        try:
            with _one_at_a_time:
                try:
                    return self._run(inputs)
                except Exception as error:
                    if _RUNS_NO_MORE not in str(error):
                        raise
                log.warning("'%s' is loaded anew: after an error of a batch MindSpore runs it no more", self._name)
                self._cell = self._load()
                return self._run(inputs)
        except Exception as error:
            raise BackendError(f"MindSpore failed on '{self._name}': {error}") from error

    def _run(self, inputs: Sequence[Array]) -> list[Array]:
        # Copies: a model with state may keep what it is given, and the arena's memory is used again afterwards.
        results = self._cell(*(self._tensor(array) for array in inputs))
        return [np.asarray(result.asnumpy()) for result in _flat(results)]
