"""What torch.jit.trace keeps of the inputs that it was given, read from the file without PyTorch.

A TorchScript file says nothing of its tensors but their number. A traced file also holds the tensors it was traced
with: a pickle `traced_inputs.pkl` next to the code. Only types and shapes are read from it; nothing in it is run.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

_STORAGES = {
    "BoolStorage": "bool",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "ShortStorage": "int16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "UInt16Storage": "uint16",
    "UInt32Storage": "uint32",
    "UInt64Storage": "uint64",
    "HalfStorage": "float16",
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
}


@dataclass(frozen=True)
class Sample:
    """A tensor that the model was traced with."""

    dtype: str
    shape: tuple[int, ...]


def traced_inputs(archive: zipfile.ZipFile) -> list[Sample] | None:
    """Those of `forward`, in order; None where the file has none, or others than plain tensors."""
    names = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/traced_inputs.pkl")]
    if len(names) != 1:
        return None
    try:
        kept = _Reader(io.BytesIO(archive.read(names[0]))).load()
        samples = kept["forward"]
    except Exception:  # whatever a pickle of another release may lead to
        return None
    if isinstance(samples, Sample):
        return [samples]
    if isinstance(samples, tuple | list) and all(isinstance(sample, Sample) for sample in samples):
        return list(samples)
    return None


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("collections", "OrderedDict"): OrderedDict,
            ("torch.jit._pickle", "restore_type_tag"): _untagged,
        }
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if (module, name) in known:
            return known[module, name]
        raise pickle.UnpicklingError(f"{module}.{name} is not expected here")

    def persistent_load(self, pid: Any) -> Any:
        return pid[1]  # ("storage", type, key, device, count)


def _tensor(storage: str, offset: int, size: Sequence[int], *_: Any) -> Sample:
    del offset
    return Sample(storage, tuple(size))


def _untagged(value: Any, tag: str) -> Any:
    del tag
    return value
