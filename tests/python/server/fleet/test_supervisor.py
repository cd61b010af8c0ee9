"""What other threads ask of the supervisor, with workers and core that the test plays."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from servoir.server.fleet.supervisor import Supervisor
from support.fake_fleet import FakeCore, FakeFleet, FakeProcess, plan, told_exit
from support.processes import wait_until


class Script(threading.Thread):
    """The user's thread: calls start() and keeps what came of it."""

    def __init__(self, supervisor: Supervisor, *plans: Any) -> None:
        super().__init__(daemon=True)
        self.supervisor, self.plans = supervisor, plans
        self.error: str | None = None
        self.start()

    def run(self) -> None:
        try:
            self.supervisor.start(list(self.plans))
        except RuntimeError as error:
            self.error = str(error)

    def result(self) -> str | None:
        self.join(10)
        assert not self.is_alive()
        return self.error


class World:
    def __init__(self, fleet: FakeFleet) -> None:
        self.fleet = fleet
        self.core: FakeCore = fleet.core
        self.left: list[bool] = []
        self.supervisor = Supervisor(fleet.core, 4.0, lambda: self.left.append(True), fleet.start_process)

    def processes(self, count: int) -> list[FakeProcess]:
        wait_until(lambda: len(self.fleet.processes) >= count, 10, f"{count} processes")
        return self.fleet.processes

    def let_load(self, *processes: FakeProcess) -> None:
        for process in processes:
            process.hello()
            process.told()
            process.ready()

    def serve(self, *plans: Any) -> list[FakeProcess]:
        before = len(self.fleet.processes)
        script = Script(self.supervisor, *plans)
        started = self.processes(before + len(plans))[before:]
        self.let_load(*started)
        assert script.result() is None
        return started

    def stop(self) -> threading.Thread:
        thread = threading.Thread(target=self.supervisor.stop, daemon=True)
        thread.start()
        return thread


def ended(thread: threading.Thread) -> bool:
    thread.join(10)
    return not thread.is_alive()


@pytest.fixture
def world(fleet: FakeFleet) -> Iterator[World]:
    world = World(fleet)
    yield world
    stopping = world.stop()
    world.supervisor.kill()
    assert ended(stopping)


def test_start_returns_when_all_are_ready(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    script = Script(world.supervisor, plan(), plan(version=2))
    first, second = world.processes(2)
    world.let_load(first)
    wait_until(lambda: world.core.of("attach"), 10, "the first lane")
    assert script.is_alive()
    world.let_load(second)
    assert script.result() is None
    assert capfd.readouterr().out.splitlines() == [
        "Servable 's' version 1: 1 worker",
        "Servable 's' version 2: 1 worker",
    ]


def test_start_fails_with_the_reason_of_a_worker(world: World) -> None:
    script = Script(world.supervisor, plan(), plan(version=2))
    first, second = world.processes(2)
    world.let_load(first)
    second.end(1)
    assert "version 2 (extra 0): it exited with code 1" in str(script.result())
    assert first.signals == [], "it is stop() that ends the others"


def test_a_version_is_started_once(world: World) -> None:
    world.serve(plan())
    assert Script(world.supervisor, plan()).result() == "Servable 's' version 1 is already running"
    assert len(world.fleet.processes) == 1
    world.serve(plan(version=2))


def test_all_workers_with_models_share_the_cores(world: World) -> None:
    world.serve(plan())
    script = Script(world.supervisor, plan(version=2, device_ids=(0, 1)))
    for process in world.processes(3)[1:]:
        process.hello()
        load: Any = process.told()
        assert load.sharing_workers == 3
        process.ready()
    assert script.result() is None


def test_stop_tells_the_workers_and_waits_for_them(world: World) -> None:
    (process,) = world.serve(plan())
    stopping = world.stop()
    assert told_exit(process)
    assert stopping.is_alive()
    process.end(0)
    assert ended(stopping)
    assert world.left == []
    assert world.supervisor.child_fds() == []
    assert world.core.of("withdraw") == [], "the core is stopped before the workers"
    world.supervisor.stop()


def test_stop_without_a_start(fleet: FakeFleet) -> None:
    supervisor = Supervisor(fleet.core, 4.0, lambda: None, fleet.start_process)
    supervisor.stop()
    assert supervisor.child_fds() == []


def test_stop_ends_a_start_that_waits(world: World) -> None:
    script = Script(world.supervisor, plan())
    (process,) = world.processes(1)
    stopping = world.stop()
    assert script.result() == "the server was stopped while servables were starting"
    assert told_exit(process)
    process.end(0)
    assert ended(stopping)


def test_kill_does_not_wait(world: World) -> None:
    (process,) = world.serve(plan())
    stopping = world.stop()
    assert told_exit(process)
    world.supervisor.kill()
    assert ended(stopping)
    assert process.signals == [9]


def test_the_descriptors_that_a_child_of_fork_must_not_keep(world: World) -> None:
    processes = world.serve(plan(), plan(version=2))
    fds = [fd for process in processes for fd in (process.control.fileno(), process.pidfd)]
    assert world.supervisor.child_fds() == fds


def test_a_worker_that_breaks_the_channel_is_ended(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    first, second = world.serve(plan(), plan(version=2))
    attachment = next(call[0] for call in world.core.of("attach") if call[2] == f"functions of {second.pid}")
    assert world.core.lane_failed is not None
    world.core.lane_failed(attachment, "it broke the channel's protocol: record 5 has no end", False)
    wait_until(lambda: world.core.of("detach"), 10, "its end")
    assert world.core.of("detach") == [(attachment, "it broke the channel's protocol: record 5 has no end")]
    assert (first.signals, second.signals) == ([], [9])
    world.let_load(world.processes(3)[2])
    wait_until(lambda: len(world.core.of("attach")) == 3, 10, "its successor")
    assert "has crashed: it broke the channel's protocol" in capfd.readouterr().err


def test_nobody_is_left(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    first, second = world.serve(plan(), plan(version=2))
    first.end(-15)
    wait_until(lambda: world.core.of("withdraw"), 10, "the end of the first version")
    assert world.left == []
    second.end(-15)
    wait_until(lambda: world.left, 10, "the end of the second")
    assert [reason for _, reason in world.core.of("withdraw")] == [
        "its workers were ended (it was ended by signal 15 (SIGTERM); it wrote nothing to /nowhere/the.log)"
    ] * 2
    assert "no worker is left, the servers stop" in capfd.readouterr().err
    assert ended(world.stop())
