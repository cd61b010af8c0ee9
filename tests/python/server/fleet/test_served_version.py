"""A version that is served: what it starts, what its workers' events mean, and its states."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest
from servoir.control.messages import Exit, Failed, Leaving, Load, Trying
from servoir.server.fleet.restart import WITHOUT_DESCRIPTORS, keeps_crashing
from servoir.server.fleet.served_version import ServedVersion
from servoir.server.fleet.states import VersionState, WorkerState
from servoir.server.fleet.version_policy import Action, ActionKind, FleetSnapshot, next_action
from servoir.server.fleet.worker_process import NoDescriptorsError
from support.fake_fleet import SPEC, FakeFleet, FakeProcess, plan


def serve_all(fleet: FakeFleet, version: ServedVersion) -> list[FakeProcess]:
    """Starts it, and lets every worker load."""
    version.start()
    let_load(fleet, fleet.processes)
    return fleet.processes


def let_load(fleet: FakeFleet, processes: list[FakeProcess]) -> None:
    for process in processes:
        process.hello()
        fleet.settle()
        process.ready()
        fleet.settle()


def launched(fleet: FakeFleet, **fields: Any) -> ServedVersion:
    version = ServedVersion(plan(**fields), 1, fleet.context)
    serve_all(fleet, version)
    version.launching = False
    assert state(version) is VersionState.AVAILABLE
    return version


def state(version: ServedVersion) -> VersionState:
    return version.state


def action(version: ServedVersion, now: float = 0) -> Action | None:
    return next_action(FleetSnapshot(now, True, (version.snapshot(),)))


@pytest.mark.parametrize(
    ("devices", "parallel", "places"),
    [
        ((), 1, [("extra0", True)]),
        ((), 3, [("extra0", True), ("extra1", True), ("extra2", True)]),
        ((0,), 0, [("device0", True)]),
        ((2, 5), 0, [("device2", True), ("device5", True)]),
        ((0, 1), 4, [("device0", True), ("device1", True), ("extra0", False), ("extra1", False)]),
    ],
)
def test_workers(fleet: FakeFleet, devices: tuple[int, ...], parallel: int, places: list[tuple[str, bool]]) -> None:
    version = ServedVersion(plan(device_ids=devices, parallel_workers=parallel), 1, fleet.context)
    assert action(version) == Action(ActionKind.START, 0)
    serve_all(fleet, version)
    if action(version) is not None:
        assert action(version) == Action(ActionKind.ADD_FUNCTION_WORKERS, 0)
        assert not version.has_started()
        version.add_function_workers()
        let_load(fleet, fleet.processes[len(devices) :])
    assert action(version) is None
    assert version.has_started()
    assert [(slot.role.place, slot.role.loads_models) for slot in version.slots] == places
    assert len(fleet.core.of("publish")) == 1
    assert len(fleet.core.of("attach")) == len(places)


def test_a_servable_of_models_only_needs_no_workers_for_functions(fleet: FakeFleet) -> None:
    version = ServedVersion(plan(device_ids=(0,), parallel_workers=3), 1, fleet.context)
    version.start()
    (process,) = fleet.processes
    process.hello()
    fleet.settle()
    process.ready(SPEC | {"callees": [{"kind": "model", "name": "k"}]}, functions=(), models=(0,))
    fleet.settle()
    assert action(version) is None
    assert version.has_started()
    assert version.model_count() == 1


def test_states_while_it_starts(fleet: FakeFleet) -> None:
    version = ServedVersion(plan(parallel_workers=2), 1, fleet.context)
    version.start()
    first, second = fleet.processes
    assert state(version) is VersionState.STARTING
    first.hello()
    fleet.settle()
    assert state(version) is VersionState.LOADING
    second.hello()
    first.ready()
    fleet.settle()
    assert state(version) is VersionState.AVAILABLE
    assert not version.has_started()
    second.ready()
    fleet.settle()
    assert version.has_started()
    assert (version.threads, version.backends) == (2, ("fake 1",))


def test_a_version_warms_while_its_models_are_tried(fleet: FakeFleet) -> None:
    version = ServedVersion(plan(parallel_workers=2), 1, fleet.context)
    version.start()
    first, second = fleet.processes
    first.hello()
    first.say(Trying("net.onnx"))
    fleet.settle()
    assert state(version) is VersionState.WARMING
    second.hello()
    first.ready()
    fleet.settle()
    assert state(version) is VersionState.AVAILABLE
    second.say(Trying("net.onnx"))
    fleet.settle()
    assert state(version) is VersionState.AVAILABLE, "the first worker serves"


def test_a_trial_that_ends_its_process_does_not_fail_the_start(fleet: FakeFleet) -> None:
    version = ServedVersion(plan(), 1, fleet.context)
    version.start()
    fleet.processes[0].hello()
    fleet.processes[0].say(Trying("net.onnx"))
    fleet.settle()
    fleet.processes[0].end(-signal.SIGFPE)
    fleet.settle()
    assert state(version) is VersionState.WARMING
    let_load(fleet, fleet.processes[1:])
    assert state(version) is VersionState.AVAILABLE
    assert version.has_started()


def test_what_workers_are_told_to_load(fleet: FakeFleet) -> None:
    key = b"0123456789abcdef"
    version = ServedVersion(
        plan(device_ids=(3,), parallel_workers=2, dec_key=key, dec_mode="AES-CBC", device_type="cpu"),
        5,
        fleet.context,
    )
    serve_all(fleet, version)
    version.add_function_workers()
    let_load(fleet, fleet.processes[1:])
    loads = [process.told() for process in fleet.processes]
    common: dict[str, Any] = {
        "servable_directory": "/models",
        "name": "s",
        "version": 1,
        "device_type": "cpu",
        "usable_cores": 4.0,
        "sharing_workers": 5,
        "threads": None,
        "dec_mode": "AES-CBC",
    }
    assert loads == [
        Load(**common, device_id=3, loads_models=True, spec=None, dec_key=key),
        Load(**common, device_id=None, loads_models=False, spec=SPEC, dec_key=None),
    ]


def test_a_worker_with_another_graph_is_refused(fleet: FakeFleet) -> None:
    version = ServedVersion(plan(parallel_workers=2), 1, fleet.context)
    version.start()
    first, second = fleet.processes
    for process in (first, second):
        process.hello()
    fleet.settle()
    first.ready()
    fleet.settle()
    second.ready(SPEC | {"methods": ["another"]})
    fleet.settle()
    assert second.signals == [signal.SIGKILL]
    assert state(version) is VersionState.FAILED
    assert "may not change while the servable is served" in version.reason


def test_the_first_failure_of_a_start_is_its_reason(fleet: FakeFleet) -> None:
    version = ServedVersion(plan(parallel_workers=2), 1, fleet.context)
    version.start()
    first, second = fleet.processes
    for process in (first, second):
        process.hello()
    second.say(Failed("NameError: nothing", "line 2"))
    second.end(1)
    fleet.settle()
    first.end(2)
    fleet.settle()
    assert state(version) is VersionState.FAILED
    assert version.reason == (
        "Servable 's' cannot be started: worker 1001 of 's' version 1 (extra 1): NameError: nothing\nline 2"
    )
    assert action(version) is None, "whoever has started it ends it"
    assert not version.has_started()


def test_a_worker_that_becomes_ready_does_not_mend_a_failed_start(fleet: FakeFleet) -> None:
    version = ServedVersion(plan(parallel_workers=2), 1, fleet.context)
    version.start()
    first, second = fleet.processes
    first.hello()
    fleet.settle()
    second.end(1)
    fleet.settle()
    first.ready()
    fleet.settle()
    assert state(version) is VersionState.FAILED
    assert "cannot be started" in version.reason


def test_a_process_that_cannot_be_started_fails_the_start(fleet: FakeFleet) -> None:
    fleet.refusal = "its process cannot be started: no room"
    version = ServedVersion(plan(), 1, fleet.context)
    version.start()
    assert state(version) is VersionState.FAILED
    assert version.reason.endswith("no room")


def test_a_crash_is_followed_by_a_restart(fleet: FakeFleet, capfd: pytest.CaptureFixture[str]) -> None:
    version = launched(fleet)
    fleet.processes[0].end(-signal.SIGSEGV)
    fleet.settle()
    assert state(version) is VersionState.AVAILABLE, "requests wait for the next worker"
    (slot,) = version.slots
    assert slot.state is WorkerState.WAITING
    assert action(version, slot.start_at - 0.01) is None
    assert action(version, slot.start_at) == Action(ActionKind.RESTART, 0, 0)
    slot.start()
    assert action(version, slot.start_at) is None
    let_load(fleet, fleet.processes[1:])
    assert version.has_started()
    assert len(fleet.core.of("publish")) == 1
    assert len(fleet.core.of("attach")) == 2
    err = capfd.readouterr().err
    assert "worker 1000 of 's' version 1 (extra 0) has crashed: it was ended by signal 11 (SIGSEGV)" in err
    assert "It is started again in 0.1 s" in err


def crash(fleet: FakeFleet, version: ServedVersion, *, ready: bool) -> None:
    """The last process crashes; another takes its place."""
    fleet.processes[-1].end(-signal.SIGKILL)
    fleet.settle()
    version.slots[0].start()
    if ready:
        let_load(fleet, fleet.processes[-1:])


def test_answers_between_crashes_make_up_for_them(fleet: FakeFleet) -> None:
    version = launched(fleet)
    for answered in range(1, 10):
        fleet.core.answered = 10 * answered
        crash(fleet, version, ready=True)
        assert len(version.slots[0].history.times) == 1
    crash(fleet, version, ready=True)  # without an answer since
    assert len(version.slots[0].history.times) == 2
    fleet.core.answered = 1000
    crash(fleet, version, ready=False)
    assert len(version.slots[0].history.times) == 1
    fleet.core.answered = 2000
    crash(fleet, version, ready=False)  # it had not been ready: the answers were another's
    assert len(version.slots[0].history.times) == 2


def test_workers_that_die_of_a_request_do_not_keep_crashing(fleet: FakeFleet) -> None:
    version = launched(fleet)
    (slot,) = version.slots
    crash(fleet, version, ready=True)
    fleet.core.deadly_batch = True
    for _ in range(10):
        crash(fleet, version, ready=True)
        assert len(slot.history.times) == 1
        assert action(version) is None


def test_a_lack_of_descriptors_is_no_crash(fleet: FakeFleet, capfd: pytest.CaptureFixture[str]) -> None:
    version = launched(fleet)
    (slot,) = version.slots
    fleet.refusal = NoDescriptorsError("no descriptors left")
    fleet.processes[-1].end(-signal.SIGABRT)
    fleet.settle()
    for _ in range(10):
        slot.start()
        assert slot.state is WorkerState.WAITING
        assert slot.start_at - time.monotonic() <= WITHOUT_DESCRIPTORS
    assert not keeps_crashing(slot.history)
    assert len(slot.history.times) == 1
    assert capfd.readouterr().err.count("waits for descriptors: no descriptors left") == 1
    fleet.refusal = None
    slot.start()
    let_load(fleet, fleet.processes[-1:])
    assert slot.state is WorkerState.READY


def test_a_version_that_keeps_crashing_is_suspended_until_it_runs_again(fleet: FakeFleet) -> None:
    version = launched(fleet)
    for _ in range(4):
        crash(fleet, version, ready=True)
        assert action(version) is None
    fleet.processes[-1].end(-signal.SIGABRT)
    fleet.settle()
    assert action(version) == Action(ActionKind.SUSPEND, 0)
    version.suspend()
    assert state(version) is VersionState.FAILED
    ((number, reason),) = fleet.core.of("withdraw")
    assert number == 1
    assert reason == version.reason
    assert reason.startswith("its workers keep crashing; the last one: it was ended by signal 6 (SIGABRT)")
    assert action(version) is None
    assert action(version, version.slots[0].start_at) == Action(ActionKind.RESTART, 0, 0)
    version.slots[0].start()
    let_load(fleet, fleet.processes[-1:])
    assert state(version) is VersionState.AVAILABLE
    assert version.reason == ""
    assert len(fleet.core.of("publish")) == 2
    assert version.has_started()


def test_workers_ended_by_others_are_not_replaced(fleet: FakeFleet, capfd: pytest.CaptureFixture[str]) -> None:
    version = launched(fleet, device_ids=(0,), parallel_workers=2)
    version.add_function_workers()
    let_load(fleet, fleet.processes[1:])
    leading, functions = fleet.processes
    leading.say(Leaving(signal.SIGTERM))
    fleet.settle()
    leading.end(0)
    fleet.settle()
    assert "was ended from outside and is not started again" in capfd.readouterr().err
    assert action(version) == Action(ActionKind.GIVE_UP, 0)
    version.give_up()
    ((_, reason),) = fleet.core.of("withdraw")
    assert reason.startswith("its workers were ended (it exited with code 0")
    assert action(version) == Action(ActionKind.END, 0)
    version.end()
    assert state(version) is VersionState.DRAINING
    assert isinstance(functions.told(), Load)
    assert isinstance(functions.told(), Exit)
    functions.end(0)
    fleet.settle()
    assert state(version) is VersionState.ENDED
    assert action(version) is None


def test_the_end_of_a_version_that_is_not_wanted(fleet: FakeFleet) -> None:
    version = launched(fleet, parallel_workers=3)
    crashed, killed, exits = fleet.processes
    crashed.end(1)
    fleet.settle()
    version.wanted = False
    version.end()
    assert [slot.state.value for slot in version.slots] == ["gone", "exiting", "exiting"]
    killed.end(-signal.SIGKILL)
    fleet.settle()
    assert state(version) is VersionState.DRAINING
    exits.end(0)
    fleet.settle()
    assert state(version) is VersionState.ENDED
    assert action(version) is None


def test_the_end_of_a_version_that_has_not_started(fleet: FakeFleet) -> None:
    version = ServedVersion(plan(), 1, fleet.context)
    version.wanted = False
    version.end()
    assert state(version) is VersionState.ENDED
    with pytest.raises(RuntimeError, match="a version that is ended cannot be draining next"):
        version.end()
