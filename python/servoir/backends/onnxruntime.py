"""The backend ONNX Runtime: ONNX files, through its Python package, in place on the arena by I/O binding."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from servoir import log
from servoir.backends.model import DYNAMIC, Array, BackendError, Port, warm_up
from servoir.backends.options import read_options

if TYPE_CHECKING:
    from servoir._core import WorkerRuntime

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
}


class OnnxRuntime:
    name = "onnxruntime"
    formats: tuple[str, ...] = ("onnx",)

    def version(self) -> str:
        return str(_package().__version__)

    def open(self, path: str, threads: int, device_id: int | None, options: Mapping[str, str]) -> OnnxModel:
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
        try:
            session = ort.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no base class of their own
            raise BackendError(f"ONNX Runtime cannot open '{path}': {error}") from error
        return OnnxModel(session, path)


def _package() -> Any:
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise BackendError(f"the package onnxruntime cannot be imported ({error}); pip install onnxruntime") from error


def _ports(nodes: Sequence[Any], path: str, side: str) -> list[Port]:
    ports = []
    for node in nodes:
        if node.type not in _DTYPES:
            raise BackendError(f"'{path}': {side} '{node.name}' has type {node.type}, which cannot be served")
        # A named dimension is a str, one without a name is None.
        shape = [dim if isinstance(dim, int) and dim >= 0 else DYNAMIC for dim in node.shape]
        ports.append({"name": node.name, "dtype": _DTYPES[node.type], "shape": shape})
    return ports


class OnnxModel:
    def __init__(self, session: Any, path: str) -> None:
        self._session = session
        self._name = os.path.basename(path)
        self.inputs: list[Port] = _ports(session.get_inputs(), path, "input")
        self.outputs: list[Port] = _ports(session.get_outputs(), path, "output")
        self._input_types = [(port["name"], np.dtype(port["dtype"])) for port in self.inputs]
        self._output_types = [(port["name"], np.dtype(port["dtype"])) for port in self.outputs]
        self._binding = session.io_binding()
        # Address and shape that each tensor is bound to: equal batches come back to the same memory again and again.
        self._bound_inputs: list[tuple[int, tuple[int, ...]] | None] = [None] * len(self.inputs)
        self._bound_outputs: list[tuple[int, tuple[int, ...]] | None] = [None] * len(self.outputs)

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
        runtime.add_python_model(
            callee, self, max_batch=max_batch, with_batch_dim=with_batch_dim, unbatched_inputs=unbatched_inputs
        )

    def execute(self, inputs: list[Array], outputs: list[Array | None]) -> list[Array | None]:
        """See WorkerRuntime.add_python_model."""
        for index, array in enumerate(inputs):
            self._bind_input(index, array)
        rooms = False
        for index, room in enumerate(outputs):
            rooms = self._bind_output(index, room) or rooms
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:
            if not rooms:
                raise self._failed(error) from error
            # A result with another shape than expected: ONNX Runtime refuses the room it was to write to.
            return self._execute_unbound()
        if all(self._bound_outputs):
            return [None] * len(outputs)
        results = self._binding.get_outputs()
        return [None if bound else result.numpy() for bound, result in zip(self._bound_outputs, results, strict=True)]

    def execute_copied(self, inputs: Sequence[Array]) -> list[Array]:
        names = [name for name, _ in self._input_types]
        try:
            results = self._session.run(None, dict(zip(names, inputs, strict=True)))
        except Exception as error:
            raise self._failed(error) from error
        return list(results)

    def _execute_unbound(self) -> list[Array | None]:
        for index in range(len(self.outputs)):
            self._bind_output(index, None)
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:
            raise self._failed(error) from error
        return [result.numpy() for result in self._binding.get_outputs()]

    def _failed(self, error: Exception) -> BackendError:
        self._bound_inputs = [None] * len(self.inputs)
        return BackendError(f"ONNX Runtime failed on '{self._name}': {error}")

    def _bind_input(self, index: int, array: Array) -> None:
        place = (array.ctypes.data, array.shape)
        if self._bound_inputs[index] == place:
            return
        name, dtype = self._input_types[index]
        self._binding.bind_input(name, "cpu", 0, dtype, array.shape, array.ctypes.data)
        self._bound_inputs[index] = place

    def _bind_output(self, index: int, room: Array | None) -> bool:
        """Whether the output goes to the room."""
        name, dtype = self._output_types[index]
        if room is None:
            # Always anew: what is bound is the last batch's result.
            self._binding.bind_output(name, "cpu")
            self._bound_outputs[index] = None
            return False
        place = (room.ctypes.data, room.shape)
        if self._bound_outputs[index] != place:
            self._binding.bind_output(name, "cpu", 0, dtype, room.shape, room.ctypes.data)
            self._bound_outputs[index] = place
        return True
