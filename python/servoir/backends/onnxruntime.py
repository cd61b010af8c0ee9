"""The backend ONNX Runtime: ONNX files, through its Python package, in place on the arena by I/O binding."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from servoir import log
from servoir.backends.model import DYNAMIC, Array, BackendError, Port, warm_up
from servoir.backends.model_file import ModelFile
from servoir.backends.options import read_options
from servoir.backends.python_package import import_package

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

    def open(self, file: ModelFile, threads: int, device_id: int | None, options: Mapping[str, str]) -> OnnxModel:
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
            source = file.path if file.content is None else file.content
            session = ort.InferenceSession(source, settings, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no base class of their own
            raise BackendError(f"ONNX Runtime cannot open '{file.path}': {error}") from error
        return OnnxModel(session, file.path)


def _package() -> Any:
    return import_package("onnxruntime")


def _ports(nodes: Sequence[Any], path: str, side: str) -> list[Port]:
    ports = []
    for node in nodes:
        if node.type not in _DTYPES:
            raise BackendError(f"'{path}': {side} '{node.name}' has type {node.type}, which cannot be served")
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
        self.inputs: list[Port] = _ports(session.get_inputs(), path, "input")
        self.outputs: list[Port] = _ports(session.get_outputs(), path, "output")
        self._input_names = [port["name"] for port in self.inputs]
        self._output_names = [port["name"] for port in self.outputs]
        self._binding = session.io_binding()
        # A value on memory that is there already. (Binding by address takes four times as long.)
        self._value_on = _package().OrtValue.ortvalue_from_numpy

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
        rooms = [room for room in outputs if room is not None]
        if len(rooms) < len(outputs) or sum(room.nbytes for room in rooms) < _WORTH_BINDING:
            return list(self._run(inputs))
        for name, array in zip(self._input_names, inputs, strict=True):
            self._binding.bind_ortvalue_input(name, self._value_on(array))
        for name, room in zip(self._output_names, rooms, strict=True):
            self._binding.bind_ortvalue_output(name, self._value_on(room))
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception:
            # A result with another shape than expected (ONNX Runtime refuses the room it was to write to), or an error
            # that this finds again.
            return list(self._run(inputs))
        return [None] * len(outputs)

    def execute_copied(self, inputs: Sequence[Array]) -> list[Array]:
        return self._run(inputs)

    def _run(self, inputs: Sequence[Array]) -> list[Array]:
        """Reads the inputs in place; the outputs are in memory of its own."""
        try:
            results = self._session.run(self._output_names, dict(zip(self._input_names, inputs, strict=True)))
        except Exception as error:
            raise BackendError(f"ONNX Runtime failed on '{self._name}': {error}") from error
        return list(results)
