"""A call of start_servables that waits."""

from __future__ import annotations

import threading

import pytest
from servoir.server.fleet.launch import LaunchCall
from servoir.server.fleet.served_version import ServedVersion
from support.fake_fleet import SPEC, FakeFleet, plan


@pytest.fixture
def launch(fleet: FakeFleet) -> LaunchCall:
    plans = [plan(parallel_workers=2), plan(name="t", version=7)]
    launch = LaunchCall(plans, [ServedVersion(each, 3, fleet.context) for each in plans])
    for version in launch.versions:
        version.start()
    return launch


def test_it_waits_for_every_worker_of_every_version(fleet: FakeFleet, launch: LaunchCall) -> None:
    waiting = threading.Thread(target=launch.wait)
    waiting.start()
    model = {"kind": "model", "name": "net.onnx"}
    for process in fleet.processes:
        launch.settle()
        assert not launch.is_over
        assert all(version.launching for version in launch.versions)
        process.hello()
        fleet.settle()
        process.ready(SPEC if process.role.plan.name == "s" else SPEC | {"callees": [model, model]})
        fleet.settle()
    launch.settle()
    assert launch.is_over
    waiting.join(10)
    assert not waiting.is_alive()
    assert launch.error is None
    assert not any(version.launching for version in launch.versions)
    assert launch.report == [
        "Servable 's' version 1: 2 workers",
        "Servable 't' version 7: 1 worker, models run by fake 1, threads per model: 2"
        " (usable cores 4 / 3 workers with models / 1 models)",
    ]


def test_a_version_that_fails_ends_it(fleet: FakeFleet, launch: LaunchCall) -> None:
    fleet.processes[2].end(5)
    fleet.settle()
    launch.settle()
    launch.wait()
    assert launch.error is not None
    assert launch.error.startswith("Servable 't' cannot be started: worker 1002 of 't' version 7 (extra 0): it exited")
    assert launch.report == []
    # What comes after it changes nothing.
    launch.fail("the server was stopped")
    launch.settle()
    assert "exited with code 5" in launch.error
