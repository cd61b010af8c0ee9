"""The catalogue of backends: what is in it holds, and the documentation and the package's extras say the same."""

from __future__ import annotations

import importlib
import re

import pytest
from servoir import backends
from servoir.backends.catalogue import BackendRecord, records
from support import ROOT

RECORDS = list(records().values())
each = pytest.mark.parametrize("record", RECORDS, ids=[record.name for record in RECORDS])


@each
def test_its_class_is_a_backend(record: BackendRecord) -> None:
    backend = backends.backend_of(record)
    assert "cpu" in backend.device_kinds()
    assert callable(backend.version)
    assert callable(backend.open)


@each
def test_a_native_backend_says_where_its_plugin_is(record: BackendRecord) -> None:
    if record.kind == "package":
        assert record.package
        assert record.extension
        return
    module = importlib.import_module(record.class_path.rpartition(".")[0])
    assert callable(module.plugin)
    assert callable(module.search_places)
    assert (ROOT / "cpp" / "src" / "backends" / record.name / "CMakeLists.txt").is_file()


def test_the_table_of_the_documentation_has_the_same_backends_in_order() -> None:
    text = (ROOT / "docs" / "backends.md").read_text(encoding="utf-8")
    section = text.partition("| --- |")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", section, re.MULTILINE))
    assert [name for name in rows if name != "python"] == list(backends.backend_names())
    words = {
        "onnx": "ONNX",
        "openvino": "OpenVINO IR",
        "mindir": "MindIR",
        "torchscript": "TorchScript",
        "exportedprogram": "`torch.export`",
    }
    for record in RECORDS:
        assert {name for name, word in words.items() if word in rows[record.name]} == set(record.formats)


def test_each_extra_of_the_package_installs_a_backend() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = re.search(r"^\[project\.optional-dependencies\]\n(.*?)^\[", text, re.DOTALL | re.MULTILINE)
    assert section
    extras = dict(re.findall(r'^(\w+) = \["([\w-]+)', section[1], re.MULTILINE))
    by_extra = {record.extra: record.package for record in RECORDS if record.extra}
    assert {name: package for name, package in extras.items() if name not in {"all", "encryption"}} == by_extra
