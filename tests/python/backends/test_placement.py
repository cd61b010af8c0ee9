"""The device that a model is to run on, on its way to the runtime."""

from __future__ import annotations

from pathlib import Path

import pytest
from servoir import backends
from servoir.backends import Placement
from servoir.backends.catalogue import BackendRecord, records
from servoir.backends.model_file import read_model_file
from servoir.backends.native import device_name
from support.kinds import PRESENT, Kind
from support.models import onnx_models

NATIVE = [record for record in records().values() if record.kind != "package"]
PRESENT_NATIVE = [record for record in NATIVE if record.name in {kind.backend for kind in PRESENT}]


@pytest.mark.parametrize(
    ("placement", "name"),
    [
        (Placement("cpu"), "CPU"),
        (Placement("cpu", 3), "CPU"),
        (Placement("gpu"), "GPU"),
        (Placement("gpu", 0), "GPU.0"),
        (Placement("npu", 1), "NPU.1"),
    ],
)
def test_the_names_that_plugins_know(placement: Placement, name: str) -> None:
    assert device_name(placement) == name


@pytest.mark.parametrize("record", PRESENT_NATIVE, ids=[record.name for record in PRESENT_NATIVE])
def test_a_native_runtime_is_asked_for_the_device(record: BackendRecord, tmp_path: Path) -> None:
    """These have no such device on any machine of a test, and say so by its name."""
    file = read_model_file(onnx_models.add(tmp_path / "add.onnx"), None)
    with pytest.raises(RuntimeError, match=r"device '?GPU\.7\b"):
        backends.backend_of(record).open(file, 1, Placement("gpu", 7), {})


@pytest.mark.parametrize("kind", [kind for kind in PRESENT if kind.has_file], ids=str)
def test_a_kind_of_device_that_a_backend_does_not_have_is_refused(kind: Kind, tmp_path: Path) -> None:
    path = kind.make(tmp_path, "add").path
    with pytest.raises(RuntimeError, match=f"{kind.backend}: runs models on devices of the kind cpu, not on 'ascend'$"):
        backends.open_model([path], None, kind.backend, 1, Placement("ascend", 0), {})
