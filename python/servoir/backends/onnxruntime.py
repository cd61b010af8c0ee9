"""The backend ONNX Runtime: ONNX files, through its Python package, in place on the arena by I/O binding."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from servoir import log
from servoir.backends import bfloat16
from servoir.backends.external_data import content_without_links
from servoir.backends.interface import Array, Batching, Placement
from servoir.backends.model_file import ModelFile
from servoir.backends.options import read_options
from servoir.backends.python_package import import_package
from servoir.errors import BackendError
from servoir.servable.spec import DYNAMIC, Port

# What ONNX Runtime runs a model with, by the kind of device.
_PROVIDERS = {"cpu": "CPUExecutionProvider"}
_DTYPES = {
    "tensor(bool)": "bool",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int16)": "int16",
    "tensor(uint16)": "uint16",
    "tensor(int32)": "int32",
    "tensor(uint32)": "uint32",
    "tensor(int64)": "int64",
    "tensor(uint64)": "uint64",
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(string)": "str",
    "tensor(bfloat16)": "float32",  # see bfloat16.py
}
_BFLOAT16 = "tensor(bfloat16)"
_BFLOAT16_NUMBER = 16  # in onnx.TensorProto.DataType


class OnnxRuntime:
    def version(self) -> str:
        return str(_package().__version__)

    def device_kinds(self) -> tuple[str, ...]:
        return tuple(_PROVIDERS)

    def open(self, file: ModelFile, threads: int, placement: Placement, options: Mapping[str, str]) -> OnnxModel:
        ort = _package()
        settings = ort.SessionOptions()
        # A batch runs alone, on the threads that are its share. A thread that spins while it waits takes the core from
        # the server and from Python's stages.
        settings.intra_op_num_threads = threads
        settings.inter_op_num_threads = 1
        settings.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        settings.log_severity_level = 3
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        settings.add_session_config_entry("session.inter_op.allow_spinning", "0")
        for key, value in read_options(options).items():
            if key == "precision_mode":
                if value != "origin":
                    log.warning("precision_mode '%s' has no effect: ONNX Runtime computes as the file says", value)
                continue
            settings.add_session_config_entry(key, value)
        source: str | bytes = file.path if file.content is None else file.content
        if file.content is None and (content := content_without_links(file.path, root="")) is not None:
            source = content
            settings.add_session_config_entry("session.model_external_initializers_file_folder_path", "/")
        try:
            session = ort.InferenceSession(source, settings, providers=[_PROVIDERS[placement.kind]])
        except Exception as error:  # its exceptions have no base class of their own
            raise BackendError(f"ONNX Runtime cannot open '{file.path}': {error}") from error
        return OnnxModel(session, file.path)


def _package() -> Any:
    return import_package("onnxruntime")


def _refusal(node: Any) -> str:
    """Why the input or output cannot be served, to continue "output 'NAME' …"; "" if it can."""
    if node.type in _DTYPES:
        return ""
    text = f"has the type {node.type}, which cannot be served"
    if "map(" in node.type:
        text += (
            "; a classifier that is converted with zipmap=False has its probabilities as a tensor (skl2onnx: to_onnx(…,"
            " options={'zipmap': False}))"
        )
    return text


def _ports(nodes: Sequence[Any]) -> list[Port]:
    ports: list[Port] = []
    for node in nodes:
        # A named dimension is a str, one without a name is None.
        shape = [dim if isinstance(dim, int) and dim >= 0 else DYNAMIC for dim in node.shape]
        ports.append({"name": node.name, "dtype": _DTYPES[node.type], "shape": shape})
    return ports


# Bytes of outputs from which on it pays to have them written in place: binding costs more than copying less than that.
_WORTH_BINDING = 128 << 10


class OnnxModel:
    def __init__(self, session: Any, path: str) -> None:
        self._session = session
        self._name = os.path.basename(path)
        inputs, every_output = session.get_inputs(), session.get_outputs()
        for node in inputs:
            if refusal := _refusal(node):
                raise BackendError(f"'{path}': input '{node.name}' {refusal}")
        # Outputs that cannot be served, each with the reason. The model is run without them.
        self.unserved_outputs = {node.name: refusal for node in every_output if (refusal := _refusal(node))}
        outputs = [node for node in every_output if node.name not in self.unserved_outputs]
        if not outputs:
            refusals = "; ".join(f"output '{name}' {refusal}" for name, refusal in self.unserved_outputs.items())
            raise BackendError(f"'{path}': {refusals}")
        self.inputs: list[Port] = _ports(inputs)
        self.outputs: list[Port] = _ports(outputs)
        self._input_names = [port["name"] for port in self.inputs]
        self._output_names = [port["name"] for port in self.outputs]
        self._binding = session.io_binding()
        self._bfloat16 = {node.name for node in [*inputs, *outputs] if node.type == _BFLOAT16}
        if self._bfloat16 and not hasattr(_package().OrtValue, "ortvalue_from_numpy_with_onnx_type"):
            raise BackendError(f"'{path}' has bfloat16 inputs or outputs, for which ONNX Runtime has to be newer")
        self._may_bind = not self._bfloat16 and all(port["dtype"] != "str" for port in self.inputs + self.outputs)
        # A value on memory that is there already. (Binding by address takes four times as long.)
        self._value_on = _package().OrtValue.ortvalue_from_numpy

    def runnable(self, batching: Batching) -> OnnxModel:
        del batching  # any will do
        return self

    def execute(self, inputs: list[Array], outputs: list[Array | None]) -> list[Array | None]:
        """See WorkerRuntime.add_python_model."""
        rooms = [room for room in outputs if room is not None]
        if not self._may_bind or len(rooms) < len(outputs) or sum(room.nbytes for room in rooms) < _WORTH_BINDING:
            return list(self._run(inputs))
        for name, array in zip(self._input_names, inputs, strict=True):
            self._binding.bind_ortvalue_input(name, self._value_on(array))
        values = [self._value_on(room) for room in rooms]
        for name, value in zip(self._output_names, values, strict=True):
            self._binding.bind_ortvalue_output(name, value)
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception:
            # A result with another shape than expected (ONNX Runtime refuses the room it was to write to), or an error
            # that this finds again.
            return list(self._run(inputs))
        # An output that is an input is not written to its room: it is where the input is.
        results = self._binding.get_outputs()
        return [
            None if result.data_ptr() == value.data_ptr() else result.numpy()
            for result, value in zip(results, values, strict=True)
        ]

    def execute_copied(self, inputs: Sequence[Array]) -> list[Array]:
        return self._run(inputs)

    def _run(self, inputs: Sequence[Array]) -> list[Array]:
        """Reads the inputs in place; the outputs are in memory of its own."""
        try:
            if self._bfloat16:
                return self._run_bfloat16(inputs)
            results = self._session.run(self._output_names, dict(zip(self._input_names, inputs, strict=True)))
        except Exception as error:
            raise BackendError(f"ONNX Runtime failed on '{self._name}': {error}") from error
        return list(results)

    def _run_bfloat16(self, inputs: Sequence[Array]) -> list[Array]:
        values = _package().OrtValue
        given = {}
        for name, array in zip(self._input_names, inputs, strict=True):
            if name in self._bfloat16:
                bits = bfloat16.rounded(array)
                given[name] = values.ortvalue_from_numpy_with_onnx_type(bits, _BFLOAT16_NUMBER)
            else:
                given[name] = self._value_on(array)
        results = self._session.run_with_ort_values(self._output_names, given)
        return [
            _widened(result) if name in self._bfloat16 else result.numpy()
            for name, result in zip(self._output_names, results, strict=True)
        ]


def _widened(value: Any) -> Array:
    """A copy of ONNX Runtime's tensor of bfloat16, of which it makes no array itself."""
    shape = value.shape()
    bits = np.empty(shape, np.uint16)
    if bits.size:
        ctypes.memmove(bits.ctypes.data, value.data_ptr(), bits.nbytes)
    return bfloat16.widened(bits)
