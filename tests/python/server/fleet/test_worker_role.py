"""Which worker it is, and what it is called in messages, logs and its environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import servoir
from servoir.server.fleet.worker_role import WorkerRole
from support.fake_fleet import plan


@pytest.mark.parametrize(
    ("device", "index", "place", "label"),
    [
        (0, 0, "device0", "worker 9 of 's' version 1 (device 0)"),
        (12, 0, "device12", "worker 9 of 's' version 1 (device 12)"),
        (None, 0, "extra0", "worker 9 of 's' version 1 (extra 0)"),
        (None, 3, "extra3", "worker 9 of 's' version 1 (extra 3)"),
    ],
)
def test_names(device: int | None, index: int, place: str, label: str) -> None:
    role = WorkerRole(plan(), device, index, loads_models=True, work_directory="/work")
    assert role.place == place
    assert role.label(9) == label
    assert role.label(None) == label.replace(" 9", "", 1)
    assert role.log_path == f"/work/serving_logs/log_s_{place}_version1.log"
    assert role.shown_arguments() == ["s", "version1", place]


def test_it_stays_where_it_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    role = WorkerRole(plan(), 0, 0, loads_models=True)
    monkeypatch.chdir("/")
    assert role.work_directory == str(tmp_path)
    assert role.log_path.startswith(str(tmp_path))


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVING_DEVICE_ID", "99")
    monkeypatch.setenv("MY_OWN", "kept")
    device = WorkerRole(plan(), 4, 0, loads_models=True).environment()
    extra = WorkerRole(plan(), None, 4, loads_models=True).environment()
    assert (device["SERVING_DEVICE_ID"], device["MY_OWN"]) == ("4", "kept")
    assert "SERVING_DEVICE_ID" not in extra
    assert os.environ["SERVING_DEVICE_ID"] == "99"


def test_a_package_that_not_every_interpreter_finds_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = os.path.dirname(os.path.dirname(os.path.abspath(servoir.__file__)))
    role = WorkerRole(plan(), 0, 0, loads_models=True)
    monkeypatch.setattr("site.getsitepackages", lambda: [str(tmp_path)])
    monkeypatch.setattr("site.getusersitepackages", lambda: str(tmp_path))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert role.environment()["PYTHONPATH"] == root
    monkeypatch.setenv("PYTHONPATH", "/mine")
    assert role.environment()["PYTHONPATH"] == f"/mine{os.pathsep}{root}"
    monkeypatch.setattr("site.getsitepackages", lambda: [root])
    assert role.environment()["PYTHONPATH"] == "/mine"
