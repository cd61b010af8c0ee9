"""ONNX's own tests of its operators: models of a node or a few, with inputs and the outputs that they have to give."""

from __future__ import annotations

import functools
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

# The types that can be served, by their numbers in onnx.TensorProto: numbers, texts, bfloat16.
_SERVED = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16}
# These want a locale that a machine may have or not.
_OF_A_LOCALE = "test_strnormalizer_export_monday"
_RANDOM = ("test_bernoulli", "test_training_dropout")


@dataclass(frozen=True)
class Case:
    name: str
    model: bytes
    inputs: Sequence[np.ndarray]
    outputs: Sequence[np.ndarray]
    tolerance: tuple[float, float]  # relative, absolute

    @property
    def is_random(self) -> bool:
        """What is wanted may come by chance."""
        return self.name.startswith(_RANDOM)

    @property
    def is_special(self) -> bool:
        """Tensors of a kind that runtimes have had trouble with: without elements, without dimensions, other types than
        numbers."""
        tensors = [*self.inputs, *self.outputs]
        return any(one.size == 0 or one.dtype.kind == "U" for one in tensors) or any(
            one.ndim == 0 for one in self.outputs
        )

    def difference(self, results: Sequence[np.ndarray]) -> str:
        """What is wrong with these results; "" if nothing is."""
        for index, (got, wanted) in enumerate(zip(results, self.outputs, strict=True)):
            if got.dtype.kind != wanted.dtype.kind or (got.dtype != wanted.dtype and got.dtype.kind != "U"):
                return f"output {index} is {got.dtype}, not {wanted.dtype}"
            if got.shape != wanted.shape:
                return f"output {index} has the shape {list(got.shape)}, not {list(wanted.shape)}"
            if got.dtype.kind == "f":
                largest = np.max(np.abs(wanted, dtype=np.float64), where=np.isfinite(wanted), initial=0)
                relative = max(self.tolerance[0], 5e-3 if got.dtype == np.float16 else 1e-3)
                absolute = max(self.tolerance[1], 1e-5, largest * 1e-6)
                same = np.allclose(got, wanted, rtol=relative, atol=absolute, equal_nan=True)
            else:
                same = np.array_equal(got, wanted)
            if not same:
                return f"output {index} has other values"
        return ""


def _served_as(tensor: Any) -> np.ndarray:
    """As clients send and get it."""
    if isinstance(tensor, onnx.TensorProto):
        tensor = onnx.numpy_helper.to_array(tensor)
    array = np.asarray(tensor)
    if array.dtype.kind == "O":
        return array.astype(str)
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


@functools.cache
def cases() -> list[Case]:
    """Those with tensors of types that can be served, and with at least one input."""
    from onnx.backend.test.case.node import collect_testcases

    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in collect_testcases(None):
            if case.model is None or not case.data_sets or case.name.startswith(_OF_A_LOCALE):
                continue
            graph = case.model.graph
            inputs, outputs = case.data_sets[0]
            if not inputs or len(inputs) != len(graph.input) or len(outputs) != len(graph.output):
                continue
            types = [value.type.tensor_type.elem_type for value in [*graph.input, *graph.output]]  # 0: no tensor
            if set(types) <= _SERVED:
                given, wanted = ([_served_as(one) for one in side] for side in (inputs, outputs))
                model = case.model.SerializeToString()
                found.append(Case(case.name, model, given, wanted, (case.rtol, case.atol)))
    return found


def run_each(backend: str, chosen: Sequence[Case], directory: Path) -> dict[str, str]:
    """What is wrong with each case when the backend runs it, outside of a server; "" if nothing is. In a process of its
    own, and another one after each case that ends it."""
    file = directory / "cases.pickle"
    told: dict[str, str] = {}
    while left := [case for case in chosen if case.name not in told]:
        file.write_bytes(pickle.dumps(left))
        path = os.pathsep.join(word for word in sys.path if word)
        done = subprocess.run(
            [sys.executable, "-m", __name__, backend, str(file)],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=1500,
        )
        for line in done.stdout.splitlines():
            name, _, wrong = line.partition("\t")
            told[name] = wrong
        if done.returncode != 0:
            for case in left:
                if case.name not in told:
                    told[case.name] = f"the process ended with the status {done.returncode}"
                    break
    return told


def _run(backend: str, case: Case, path: Path) -> str:
    from servoir import backends

    path.write_bytes(case.model)
    try:
        subgraph = backends.open_model([str(path)], "onnx", backend, 1, backends.CPU, {}).subgraphs[0]
        # Twice, as a server does: a runtime may keep something of the first run.
        for _ in range(2):
            results = subgraph.execute_copied(list(case.inputs))
            if wrong := case.difference([_served_as(result) for result in results]):
                return wrong
    except RuntimeError as error:
        return str(error)
    return ""


def _main(backend: str, file: str) -> Iterator[str]:
    for case in pickle.loads(Path(file).read_bytes()):
        yield f"{case.name}\t{' '.join(_run(backend, case, Path(file).with_suffix('.onnx')).split())}"


if __name__ == "__main__":
    for line in _main(*sys.argv[1:]):
        print(line, flush=True)
