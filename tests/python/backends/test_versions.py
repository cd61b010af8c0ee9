"""Tested versions: the table in the code, that of the documentation, and what is said of others."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from servoir import backends, log
from servoir.backends import catalogue, tested_versions
from support import ROOT


def test_the_documentation_has_the_same_versions() -> None:
    text = (ROOT / "docs" / "backends.md").read_text(encoding="utf-8")
    section = re.search(r"^## Versions\n(.*?)^## ", text, re.DOTALL | re.MULTILINE)
    assert section
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|$", section[1], re.MULTILINE))
    assert rows == {name: tested_versions.tested_range(name) for name in catalogue.records()}


@pytest.mark.parametrize(
    ("backend", "version", "tested"),
    [
        ("openvino", "2026.4.1-22982-e213a147257-releases/2026/4", True),
        ("openvino", "2024.6.0-17404-4c0f47d2335-releases/2024/6", True),
        ("openvino", "2024.5.0-1", False),
        ("openvino", "2026.5.0", False),
        ("openvino", "2027.0.0", False),
        ("openvino", "custom_build", False),
        ("onnxruntime", "1.17.0", True),
        ("onnxruntime", "1.9.0", False),
        ("onnxruntime", "1.32.1", True),
        ("onnxruntime", "1.33.0", False),
        ("mindspore", "2.7.0rc1", True),
        ("mindspore", "2.10.0", True),
        ("mindspore", "2.11", False),
        ("opencv_dnn", "5.0.0", True),
        ("opencv_dnn", "5.0.0-dev", True),
        ("opencv_dnn", "5.0.1", False),
        ("torch", "2.13.0+cpu", True),
        ("torch", "2.1", False),
        ("torch", "", False),
    ],
)
def test_ranges(backend: str, version: str, tested: bool) -> None:
    assert tested_versions.is_tested(backend, version) is tested


def test_another_version_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(log, "warning", lambda text, *args: logged.append(str(text) % args))
    tested_versions.warn_if_untested.cache_clear()
    for _ in range(3):
        tested_versions.warn_if_untested("mindspore", "2.11.0")
        tested_versions.warn_if_untested("mindspore", "2.10.0")
        tested_versions.warn_if_untested("torch", "3.0")
    assert logged == [
        "mindspore 2.11.0 is used, but only 2.7 to 2.10 is tested",
        "torch 3.0 is used, but only 2.13 is tested",
    ]
    tested_versions.warn_if_untested.cache_clear()


def test_a_model_opened_by_another_version_is_served_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from support.models import onnx_models

    logged: list[str] = []
    monkeypatch.setattr(log, "warning", lambda text, *args: logged.append(str(text) % args))
    changed = dataclasses.replace(catalogue.records()["onnxruntime"], tested=("0.1", "0.2"))
    monkeypatch.setitem(catalogue.records(), "onnxruntime", changed)
    tested_versions.warn_if_untested.cache_clear()
    path = onnx_models.add(tmp_path / "add.onnx")
    for _ in range(2):
        assert backends.open_model([path], None, "onnxruntime", 1, backends.CPU, {}).backend == "onnxruntime"
    assert len(logged) == 1
    assert logged[0].endswith("is used, but only 0.1 to 0.2 is tested")
    tested_versions.warn_if_untested.cache_clear()
