"""servoir doctor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from servoir import backends, cli
from support.libraries import MESSAGES, fake_openvino
from support.models import onnx_models

MINDIR = b"\x0a\x031.1\x12\x09MindSpore*\x062.10.0"
METHOD = """
@register.register_method(output_names=["y"])
def run(x):
    return x
"""
Servable = Callable[..., Path]


@pytest.fixture
def servable(tmp_path: Path) -> Servable:
    """servable(CONFIGURATION, FILE=CONTENT…): its directory."""

    def make(config: str, name: str = "mine", version: str = "1", **files: bytes) -> Path:
        directory = tmp_path / "servables" / name
        (directory / version).mkdir(parents=True)
        (directory / "servable_config.py").write_text("from servoir.server import register\n" + config)
        onnx_models.add(directory / version / "add.onnx")
        for file, content in files.items():
            (directory / version / file.replace("_", ".")).write_bytes(content)
        return directory

    return make


def doctor(capsys: pytest.CaptureFixture[str], *arguments: Path | str) -> tuple[int, dict[str, Any]]:
    status = cli.main(["doctor", "--json", *map(str, arguments)])
    return status, json.loads(capsys.readouterr().out)


def test_every_backend_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    status, report = doctor(capsys)
    assert status == 0
    assert set(report) == {"servoir", "python", "cores", "backends", "servables"}
    assert report["cores"] > 0
    assert [one["name"] for one in report["backends"]] == list(backends.backend_names())
    for one in report["backends"]:
        assert set(one) == {
            "name",
            "usable",
            "version",
            "tested",
            "tested_versions",
            "found",
            "devices",
            "problem",
            "refused",
        }
        assert one["usable"] is (one["problem"] is None)
        if one["usable"]:
            assert os.path.exists(one["found"])
            assert "CPU" in one["devices"]
            assert one["version"]
    onnxruntime = next(one for one in report["backends"] if one["name"] == "onnxruntime")
    assert onnxruntime["usable"]


def test_the_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_openvino(tmp_path, "aborts")
    monkeypatch.setenv("SERVOIR_OPENVINO_DIR", str(tmp_path))
    assert cli.main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Servoir ")
    assert lines[2].split() == ["backend", "version", "tested", "devices", "found"]
    [row] = [line for line in lines if line.startswith("onnxruntime ")]
    assert "(1.17 to 1.32)" in row
    library = tmp_path / "libopenvino_c.so.2310"
    assert f"  refused: {library} (SERVOIR_OPENVINO_DIR): {MESSAGES['aborts']}" in lines


def test_broken_libraries_of_every_kind_do_it_no_harm(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SERVOIR_TRIAL_SECONDS", "3")
    for fault, message in MESSAGES.items():
        place = tmp_path / fault.replace(" ", "_")
        fake_openvino(place, fault)
        monkeypatch.setenv("SERVOIR_OPENVINO_DIR", str(place))
        _, report = doctor(capsys)
        [openvino] = [one for one in report["backends"] if one["name"] == "openvino"]
        assert message in openvino["refused"][0]["reason"]
        assert openvino["refused"][0]["place"] == "SERVOIR_OPENVINO_DIR"


def test_a_servable_that_has_all_it_needs(capsys: pytest.CaptureFixture[str], servable: Servable) -> None:
    path = servable("print('noise')\nregister.declare_model('add.onnx')\n" + METHOD)
    status, report = doctor(capsys, path)
    assert status == 0
    [found] = report["servables"]
    assert (found["path"], found["version"], found["problem"]) == (str(path), 1, None)
    [model] = found["models"]
    assert (model["name"], model["formats"], model["missing"]) == ("add.onnx", ["onnx"], False)
    assert model["backends"][:2] == ["openvino", "onnxruntime"]
    assert "onnxruntime" in model["usable"]
    assert model["run_by"].split()[0] == model["usable"][0]
    assert model["refusals"] == []
    assert cli.main(["doctor", str(path)]) == 0
    assert "model add.onnx (onnx): run by " in capsys.readouterr().out


def test_a_backend_that_is_missing(capsys: pytest.CaptureFixture[str], servable: Servable) -> None:
    path = servable(
        "register.declare_model('add.onnx')\nregister.declare_model('net.mindir')\n" + METHOD, net_mindir=MINDIR
    )
    status, report = doctor(capsys, path)
    there = {one["name"] for one in report["backends"] if one["usable"]}
    add, net = report["servables"][0]["models"]
    assert not add["missing"]
    assert net["backends"] == ["mindspore"]
    assert net["missing"] is ("mindspore" not in there)
    assert status == (0 if "mindspore" in there else 1)
    if net["missing"]:
        assert cli.main(["doctor", str(path)]) == 1
        assert (
            "  model net.mindir (mindir): MISSING: none of the backends that run it can be used: mindspore"
            in capsys.readouterr().out
        )


def test_a_backend_that_is_asked_for_and_broken(
    capsys: pytest.CaptureFixture[str], servable: Servable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVOIR_PLUGIN_DIR", "/nowhere")
    path = servable("register.declare_model('add.onnx', backend='openvino')\n" + METHOD)
    status, report = doctor(capsys, path)
    assert status == 1
    [model] = report["servables"][0]["models"]
    assert (model["backends"], model["usable"], model["missing"]) == (["openvino"], [], True)
    assert "'/nowhere/libservoir_openvino.so' is not there" in report["backends"][0]["problem"]


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("raise ValueError('no luck')", "servable_config.py cannot be imported: ValueError: no luck"),
        ("raise SystemExit(7)", "servable_config.py cannot be imported: SystemExit: 7"),
        ("import os; os._exit(7)", "servable_config.py ends the process when it is loaded (exit status 7)"),
        ("import os; os.abort()", "servable_config.py aborts when it is loaded (Aborted)"),
        ("import threading; threading.Event().wait()", "servable_config.py hangs when it is loaded: it was not done"),
        ("x = 1", "servable_config.py cannot be imported: RuntimeError: servable 'mine' has no method"),
    ],
)
def test_configurations_that_tell_nothing(
    config: str,
    problem: str,
    capsys: pytest.CaptureFixture[str],
    servable: Servable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backends, "backend_names", lambda: ())  # which this is not about
    if "wait" in config:
        monkeypatch.setenv("SERVOIR_TRIAL_SECONDS", "2")
    status, report = doctor(capsys, servable(config))
    assert status == 1
    assert problem in report["servables"][0]["problem"]


def test_models_that_are_not_there_or_of_no_format(
    capsys: pytest.CaptureFixture[str], servable: Servable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "backend_names", lambda: ())
    path = servable(
        "for name in ('none.onnx', 'bad.xml'):\n    register.declare_model(name)\n" + METHOD, bad_xml=b"<html/>"
    )
    status, report = doctor(capsys, path)
    assert status == 1
    none, bad = report["servables"][0]["models"]
    assert none["problem"] == f"there is no file '{path}/1/none.onnx'"
    assert "is XML, but not OpenVINO's" in bad["problem"]
    assert none["missing"]
    assert bad["missing"]


def test_an_encrypted_model(
    capsys: pytest.CaptureFixture[str], servable: Servable, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = "register.declare_model('secret.onnx'{})\n" + METHOD
    encrypted = b"\xd8\x5e\x3a\x7f" + bytes(64)  # as MindSpore does it
    status, report = doctor(capsys, servable(config.format(""), secret_onnx=encrypted))
    assert status == 0
    assert "it is encrypted, so its format cannot be told" in report["servables"][0]["models"][0]["problem"]
    [mindspore] = [one for one in report["backends"] if one["name"] == "mindspore"]
    path = servable(config.format(", model_format='MindIR'"), "other", secret_onnx=encrypted)
    status, report = doctor(capsys, path)
    assert report["servables"][0]["models"][0]["backends"] == ["mindspore"]
    assert status == (0 if mindspore["usable"] else 1)


def test_a_class_of_the_users_and_no_model_at_all(
    capsys: pytest.CaptureFixture[str], servable: Servable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "backend_names", lambda: ())
    config = """
class Twice:
    inputs = outputs = [{"name": "x", "dtype": "float32", "shape": [-1]}]
    def __init__(self, files): pass
    def execute(self, inputs): return [inputs[0] * 2]
register.declare_model('add.onnx', backend=Twice)
"""
    status, report = doctor(capsys, servable(config + METHOD, "first"), servable(METHOD, "second"))
    assert status == 0
    first, second = report["servables"]
    assert first["models"][0]["usable"] == ["python"]
    assert second["models"] == []


@pytest.mark.parametrize("arguments", [["--no-such"], ["/no/such/servable"], ["/"]])
def test_wrong_arguments_end_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["doctor", *arguments])
    assert ended.value.code == 2
    assert "usage: servoir" in capsys.readouterr().err


def test_the_newest_version_is_looked_at(
    capsys: pytest.CaptureFixture[str], servable: Servable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "backend_names", lambda: ())
    path = servable("register.declare_model('add.onnx')\n" + METHOD, version="2")
    (path / "1").mkdir()
    _, report = doctor(capsys, path)
    assert report["servables"][0]["version"] == 2


def test_from_another_directory_as_a_command(servable: Servable, tmp_path: Path) -> None:
    path = servable("register.declare_model('add.onnx')\n" + METHOD)
    done = subprocess.run(
        [sys.executable, "-m", "servoir", "doctor", "mine", "mine/"],
        cwd=path.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(f"servable {path}, version 1") == 2


def test_a_file_that_no_backend_opens(capsys: pytest.CaptureFixture[str], servable: Servable) -> None:
    """It is opened as at a start, whose text is told."""
    truncated = servable("", "whole").joinpath("1", "add.onnx").read_bytes()[:-20]
    path = servable("register.declare_model('bad.onnx')\n" + METHOD, bad_onnx=truncated)
    status, report = doctor(capsys, path)
    assert status == 1
    [model] = report["servables"][0]["models"]
    assert (model["formats"], model["missing"], model["run_by"]) == (["onnx"], True, None)
    assert "no backend can run" in model["problem"]
    assert "ONNX Runtime cannot open" in model["problem"]


def test_a_model_that_is_not_what_it_is_declared_to_be(capsys: pytest.CaptureFixture[str], servable: Servable) -> None:
    path = servable("register.declare_model('add.onnx', max_batch_size=4, without_batch_dim_inputs=7)\n" + METHOD)
    status, report = doctor(capsys, path)
    assert status == 1
    assert "'without_batch_dim_inputs' of model 'add.onnx' has 7" in report["servables"][0]["models"][0]["problem"]
