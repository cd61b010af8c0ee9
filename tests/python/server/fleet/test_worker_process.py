"""The end of a process as it is told, and a process that cannot be started."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import pytest
from servoir.control.socket import LOST_SERVER
from servoir.server.fleet.worker_process import NoDescriptorsError, ProcessExit, start_process
from servoir.server.fleet.worker_role import WorkerRole
from support.fake_fleet import plan


@pytest.mark.parametrize(
    ("end", "brief", "by_others", "by_itself"),
    [
        (ProcessExit(0), "it exited with code 0", False, False),
        (ProcessExit(7), "it exited with code 7", False, True),
        (ProcessExit(LOST_SERVER), "it had lost its connection to the server", False, False),
        (ProcessExit(-9), "it was ended by signal 9 (SIGKILL)", False, False),
        (ProcessExit(-11), "it was ended by signal 11 (SIGSEGV)", False, True),
        (ProcessExit(-63), "it was ended by signal 63", False, True),
        (ProcessExit(-15), "it was ended by signal 15 (SIGTERM)", True, False),
        (ProcessExit(-2), "it was ended by signal 2 (SIGINT)", True, False),
        (ProcessExit(0, signalled=15), "it exited with code 0", True, False),
        (ProcessExit(-9, ended_for="it hangs"), "it hangs", False, False),
        (ProcessExit(-15, ended_for="it hangs"), "it hangs", False, False),
        (ProcessExit(None, failure="no room"), "it was not started", False, False),
    ],
)
def test_ends(end: ProcessExit, brief: str, by_others: bool, by_itself: bool) -> None:
    assert end.brief() == brief
    assert end.by_others is by_others
    assert end.by_itself is by_itself


def test_the_text_of_an_end(tmp_path: Path) -> None:
    log = tmp_path / "the.log"
    assert ProcessExit(-9, log_path=str(log)).text() == (
        f"it was ended by signal 9 (SIGKILL); it wrote nothing to {log}"
    )
    assert ProcessExit(3, log_path=str(log), tail="last words").text() == (
        f"it exited with code 3; the last lines of {log}:\nlast words"
    )
    assert ProcessExit(3).text() == "it exited with code 3; it wrote nothing"
    assert (
        ProcessExit(3, tail="last words").text()
        == "it exited with code 3; the last lines of what it wrote:\nlast words"
    )
    assert ProcessExit(3, failure="NameError", log_path=str(log)).text() == "NameError"
    assert ProcessExit(-9, ended_for="it hangs", failure="NameError").text() == "it hangs"


class Core:
    def __init__(self) -> None:
        self.arena_fd = os.memfd_create("arena")
        self.lanes = 0

    def open_lane(self) -> Any:
        self.lanes += 1
        raise RuntimeError("the arena is full")


@pytest.mark.parametrize("loads_models", [True, False])
def test_a_process_that_cannot_be_started_leaves_nothing(tmp_path: Path, loads_models: bool) -> None:
    core: Any = Core()
    role = WorkerRole(plan(), None, 0, loads_models=loads_models, work_directory=str(tmp_path))
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(RuntimeError, match="its process cannot be started: the arena is full"):
        start_process(role, core, is_first=True)
    assert core.lanes == 1
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(core.arena_fd)


def test_a_server_without_descriptors_says_so(tmp_path: Path) -> None:
    core: Any = Core()
    role = WorkerRole(plan(), None, 0, loads_models=True, work_directory=str(tmp_path))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 5, hard))
    try:
        with pytest.raises(NoDescriptorsError, match="no descriptors left"):
            start_process(role, core, is_first=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert core.lanes == 0
    os.close(core.arena_fd)
