"""The catalogue of backends: what is in it holds, and the documentation and the package's extras say the same."""

from __future__ import annotations

import importlib
import json
import os
import re
from pathlib import Path

import grpc
import pytest
from servoir import backends
from servoir.backends import catalogue, python_package, recorded
from servoir.backends.catalogue import BackendRecord, records
from servoir.backends.examination import examine
from support import ROOT

# What the documentation calls the formats.
FORMAT_WORDS = {
    "onnx": "ONNX",
    "openvino": "OpenVINO IR",
    "mindir": "MindIR",
    "torchscript": "TorchScript",
    "exportedprogram": "`torch.export`",
}
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
    for record in RECORDS:
        assert {name for name, word in FORMAT_WORDS.items() if word in rows[record.name]} == set(record.formats)


def test_each_extra_of_the_package_installs_a_backend() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = re.search(r"^\[project\.optional-dependencies\]\n(.*?)^\[", text, re.DOTALL | re.MULTILINE)
    assert section
    extras = dict(re.findall(r'^(\w+) = \["([\w-]+)', section[1], re.MULTILINE))
    by_extra = {record.extra: record.package for record in RECORDS if record.extra}
    assert {name: package for name, package in extras.items() if name not in {"all", "encryption"}} == by_extra


def test_the_package_of_a_backend_may_have_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor, and what build.sh -p was given, go by the name of the backend."""
    content = json.loads(Path(catalogue.__file__).with_name("catalogue.json").read_text(encoding="utf-8"))
    [example] = [entry for entry in content["backends"] if entry["name"] == "onnxruntime"]
    toy = {**example, "name": "toy", "tested": ["1", "9"], "package": "grpc", "extension": "_cython/cygrpc"}
    content["backends"].append(toy)
    (tmp_path / "catalogue.json").write_text(json.dumps(content))
    monkeypatch.setattr(catalogue, "__file__", str(tmp_path / "catalogue.py"))
    directory = os.path.join(os.path.dirname(grpc.__file__), "_cython")
    given = {"directories": {"toy": [directory]}, "place": recorded.place()}
    (tmp_path / "backend_dirs.json").write_text(json.dumps(given))
    monkeypatch.setenv("SERVOIR_PLUGIN_DIR", str(tmp_path))
    records.cache_clear()
    try:
        found = examine("toy")
        tested = found.tested_range
        places = python_package.package_places("grpc")
    finally:
        records.cache_clear()
    # The process that tries to import it reads the catalogue of the installation, and does not know it.
    assert (found.backend, found.found) == ("toy", os.path.dirname(directory))
    assert tested == "1 to 9"
    assert [place.path for place in places] == [directory]
