"""The backend PyTorch: TorchScript files and programs of torch.export, through the Python package torch, on the CPU.

Inputs are read where they lie in the arena, unless the program writes to them or keeps them. The interpreter lock is
free while PyTorch computes. What a file's inputs and outputs are is found out by script.py and export.py.
"""

from __future__ import annotations

import io
import os
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from servoir import log
from servoir.backends.catalogue import records
from servoir.backends.file_format import file_format
from servoir.backends.interface import Array, Batching, Placement
from servoir.backends.model_file import ModelFile
from servoir.backends.options import described_ports, read_options
from servoir.backends.process_threads import ProcessThreads
from servoir.backends.python_package import import_package
from servoir.backends.torch.program import Program
from servoir.errors import BackendError
from servoir.servable.spec import Port

_OLDEST = (2, 4)
_WARM_UPS = 2  # TorchScript watches the first run, and optimises in the second
_threads = ProcessThreads("PyTorch")


class Torch:
    def version(self) -> str:
        version = str(_package().__version__)
        found = re.match(r"([0-9]+)\.([0-9]+)", version)
        if found is None or (int(found[1]), int(found[2])) < _OLDEST:
            raise BackendError(f"the package torch is {version}; 2.4 or newer can be used: pip install -U torch")
        return version

    def device_kinds(self) -> tuple[str, ...]:
        return ("cpu",)

    def open(self, file: ModelFile, threads: int, placement: Placement, options: Mapping[str, str]) -> TorchModel:
        from servoir.backends.torch import export, script

        for key, value in read_options(options, describes=True).items():
            if key != "precision_mode":
                raise BackendError(f"'{key}' of the config_file is unknown: PyTorch takes 'inputs' and 'outputs' only")
            if value != "origin":
                log.warning("precision_mode '%s' has no effect: PyTorch computes as the file says", value)
        inputs, outputs = described_ports(options, "inputs"), described_ports(options, "outputs")
        found = file_format(file)
        if found not in records()["torch"].formats:
            raise BackendError(f"'{file.path}' is no file that PyTorch can run: its content is of the format {found}")
        torch = _package()
        _set_up(torch, threads)
        source = file.path if file.content is None else io.BytesIO(file.content)
        try:
            with torch.inference_mode(), warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # which is for those who make such files
                if found == "torchscript":
                    program = script.open_program(torch, source, file.path, placement.kind, inputs, outputs)
                elif inputs is not None or outputs is not None:
                    raise BackendError(
                        "the config_file has 'inputs' or 'outputs'; an exported program says them itself"
                    )
                else:
                    program = export.open_program(torch, source, file.path)
        except BackendError:
            raise
        except Exception as error:  # PyTorch's exceptions have no base class of their own
            raise BackendError(f"PyTorch cannot open '{file.path}': {_first_lines(error)}") from error
        return TorchModel(torch, program, file.path)


def _package() -> Any:
    if "torch" not in sys.modules:
        # Threads of OpenMP that spin while they wait take the cores from the server and from Python's stages.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return import_package("torch")


def _set_up(torch: Any, threads: int) -> None:
    """Threads are a setting of the process: those of the model that is opened first."""
    if not _threads.decide(threads):
        return
    torch.set_num_threads(threads)
    try:
        torch.set_num_interop_threads(1)
    except RuntimeError:  # it has computed in parallel before: servable_config.py uses it
        log.info("PyTorch's threads between operators are left as they are")


def _first_lines(error: Exception) -> str:
    """Without PyTorch's own stack of C++ calls."""
    return str(error).split("\nException raised from ", 1)[0].strip() or type(error).__name__


class TorchModel:
    def __init__(self, torch: Any, program: Program, path: str) -> None:
        self._torch = torch
        self._program = program
        self._name = os.path.basename(path)
        self.inputs: list[Port] = program.inputs
        self.outputs: list[Port] = program.outputs

    def runnable(self, batching: Batching) -> TorchModel:
        if batching.with_batch_dim:
            self._check_batch(batching.max_batch)
        if self._program.trial is not None:
            try:
                for _ in range(_WARM_UPS):
                    self.execute_copied(self._program.trial)
            except BackendError as error:
                log.info("the model '%s' was not warmed up: %s", self._name, error)
        return self

    def _check_batch(self, max_batch: int) -> None:
        least, most = self._program.batches
        shape = self.inputs[0]["shape"]
        if least > 1 and shape and shape[0] < least:
            raise BackendError(
                f"'{self._name}' was exported for batches of {least} instances or more, and a batch may have only"
                f" one; export it with torch.export.Dim(…, min=1)"
            )
        if most is not None and max_batch > most:
            raise BackendError(
                f"'{self._name}' was exported for batches of at most {most} instances, but it is to be run with"
                f" {max_batch}: declare_model(max_batch_size={most}) should say so"
            )

    def execute(self, inputs: list[Array], outputs: list[Array | None]) -> list[Array | None]:
        """See WorkerRuntime.add_python_model."""
        torch = self._torch
        try:
            with torch.inference_mode():
                given = [
                    array.item()
                    if scalar
                    else torch.from_numpy(array.copy() if copied or not array.flags.writeable else array)
                    for array, scalar, copied in zip(inputs, self._program.scalars, self._program.copies, strict=True)
                ]
                return [
                    self._placed(result, room) for result, room in zip(self._program.run(given), outputs, strict=True)
                ]
        except Exception as error:
            raise BackendError(f"PyTorch failed on '{self._name}': {_first_lines(error)}") from error

    def _placed(self, result: Any, room: Array | None) -> Array | None:
        """None: it has been written to the room."""
        if not isinstance(result, self._torch.Tensor):
            return np.asarray(result)
        if room is not None:
            there = self._torch.from_numpy(room)
            if there.dtype == result.dtype and there.shape == result.shape:
                there.copy_(result)
                return None
        array: Array = result.detach().numpy()
        return array

    def execute_copied(self, inputs: Sequence[Array]) -> list[Array]:
        results = self.execute(list(inputs), [None] * len(self.outputs))
        return [np.array(result) for result in results if result is not None]
