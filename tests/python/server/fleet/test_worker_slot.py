"""A place for a worker: its events, and what it tells its owner."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import Any

import pytest
from servoir.control.messages import Exit, Failed, Hello, Leaving, Load, Opening, Ready, Trying
from servoir.server.fleet.served_version import load_message
from servoir.server.fleet.states import WorkerState
from servoir.server.fleet.worker_process import ProcessExit
from servoir.server.fleet.worker_role import WorkerRole
from servoir.server.fleet.worker_slot import LaneOffer, WorkerSlot, lane_offers
from support.fake_fleet import CHANNEL_VERSION, SPEC, VERSION, FakeFleet, FakeProcess, plan, told_exit


@dataclass
class Owner:
    """Attaches what is ready, and writes down what it is told."""

    events: list[str] = field(default_factory=list)
    ends: list[ProcessExit] = field(default_factory=list)
    refusal: str | None = None
    served: list[bool] = field(default_factory=list)
    tried: int = 0

    def on_hello(self, slot: WorkerSlot) -> Load:
        self.events.append("hello")
        return load_message(slot.role, usable_cores=1, sharing_workers=1, threads=None, spec=None)

    def on_trying(self, slot: WorkerSlot) -> None:
        self.tried += 1

    def on_ready(self, slot: WorkerSlot, ready: Ready) -> None:
        self.events.append("ready")
        if self.refusal is not None:
            raise RuntimeError(self.refusal)
        slot.attach(77, ready)

    def on_end(self, slot: WorkerSlot, end: ProcessExit, *, had_served: bool) -> None:
        self.events.append("end")
        self.ends.append(end)
        self.served.append(had_served)
        slot.give_up()


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def slot(fleet: FakeFleet, owner: Owner) -> WorkerSlot:
    return WorkerSlot(WorkerRole(plan(device_ids=(0,)), 0, 0, loads_models=True), fleet.context, owner)


def start(fleet: FakeFleet, slot: WorkerSlot) -> FakeProcess:
    slot.start()
    return fleet.processes[-1]


def state(slot: WorkerSlot) -> WorkerState:
    return slot.state


def serve(fleet: FakeFleet, slot: WorkerSlot) -> FakeProcess:
    process = start(fleet, slot)
    process.hello()
    fleet.settle()
    process.ready(functions=(0,), models=(1, 2))
    fleet.settle()
    assert state(slot) is WorkerState.READY
    return process


def test_from_the_start_until_it_is_ready(fleet: FakeFleet, slot: WorkerSlot, owner: Owner) -> None:
    assert state(slot) is WorkerState.WAITING
    assert slot.label == "worker of 's' version 1 (device 0)"
    process = start(fleet, slot)
    assert state(slot) is WorkerState.STARTING
    assert slot.label == "worker 1000 of 's' version 1 (device 0)"
    process.hello()
    fleet.settle()
    assert state(slot) is WorkerState.LOADING
    load = process.told()
    assert isinstance(load, Load)
    assert (load.name, load.device_id, load.loads_models) == ("s", 0, True)
    changes = fleet.changes
    process.ready(functions=(0,), models=(1, 2))
    fleet.settle()
    assert state(slot) is WorkerState.READY
    assert fleet.changes > changes
    assert owner.events == ["hello", "ready"]
    assert fleet.core.of("attach") == [
        (1, 77, "functions of 1000", [0], slot.label),
        (2, 77, "models of 1000", [1, 2], slot.label),
    ]
    assert [slot.has_attachment(number) for number in (0, 1, 2, 3)] == [False, True, True, False]


def test_a_crash(fleet: FakeFleet, slot: WorkerSlot, owner: Owner) -> None:
    process = serve(fleet, slot)
    process.end(-signal.SIGKILL)
    changes = fleet.changes
    fleet.settle()
    assert fleet.core.of("detach") == [(n, "it was ended by signal 9 (SIGKILL)") for n in (1, 2)]
    assert owner.events == ["hello", "ready", "end"]
    assert owner.served == [True]
    assert not owner.ends[0].by_others
    assert process.is_closed
    assert not slot.has_attachment(1)
    assert fleet.changes > changes
    assert slot.child_fds() == []


def loading(fleet: FakeFleet, slot: WorkerSlot, *messages: Trying) -> tuple[FakeProcess, Load]:
    """A process of the slot that has been told what to load, and has said this."""
    process = fleet.processes[-1]
    process.hello()
    fleet.settle()
    load = process.told()
    assert isinstance(load, Load)
    for message in messages:
        process.say(message)
    return process, load


def test_a_trial_that_ends_the_process_is_left_out_by_the_next(
    fleet: FakeFleet, slot: WorkerSlot, owner: Owner, capfd: pytest.CaptureFixture[str]
) -> None:
    slot.start()
    process, load = loading(fleet, slot, Trying("a.onnx"), Trying(None), Trying("b.onnx"))
    assert load.untried == ()
    process.end(-signal.SIGFPE)
    fleet.settle()
    assert owner.ends == []
    assert "the trial of model 'b.onnx'" in (text := capfd.readouterr().err)
    assert "it was ended by signal 8 (SIGFPE)" in text
    assert "trial=False" in text
    assert process.is_closed
    assert fleet.processes[-1] is not process
    assert state(slot) is WorkerState.STARTING
    process, load = loading(fleet, slot, Trying("a.onnx"))
    assert load.untried == ("b.onnx",)
    process.end(-signal.SIGSEGV)
    fleet.settle()
    process, load = loading(fleet, slot)
    assert load.untried == ("b.onnx", "a.onnx")
    process.ready(functions=(0,), models=(1,))
    fleet.settle()
    assert state(slot) is WorkerState.READY
    assert owner.events == ["hello", "hello", "hello", "ready"]


@pytest.mark.parametrize(
    ("said", "model"),
    [((Opening("a.onnx"),), "a.onnx"), ((Opening("a.onnx"), Opening(None), Opening("b.onnx")), "b.onnx")],
)
def test_the_end_says_which_model_was_opened(
    fleet: FakeFleet, slot: WorkerSlot, owner: Owner, said: tuple[Opening, ...], model: str
) -> None:
    slot.start()
    process, _ = loading(fleet, slot, *said)
    process.end(-signal.SIGSEGV)
    fleet.settle()
    (end,) = owner.ends
    text = f"it was ended by signal 11 (SIGSEGV) while it opened the files of model '{model}'"
    assert end.brief() == text
    assert end.text().startswith(text + "; ")


def test_a_model_that_is_open_is_not_named(fleet: FakeFleet, slot: WorkerSlot, owner: Owner) -> None:
    slot.start()
    process, _ = loading(fleet, slot, Opening("a.onnx"), Opening(None))
    process.end(-signal.SIGSEGV)
    fleet.settle()
    assert owner.ends[0].brief() == "it was ended by signal 11 (SIGSEGV)"


@pytest.mark.parametrize("said", [(), (Trying("a.onnx"), Trying(None))])
def test_other_ends_while_it_loads_are_told(
    fleet: FakeFleet, slot: WorkerSlot, owner: Owner, said: tuple[Trying, ...]
) -> None:
    slot.start()
    process, _ = loading(fleet, slot, *said)
    process.end(-signal.SIGFPE)
    fleet.settle()
    assert owner.events == ["hello", "end"]
    assert len(fleet.processes) == 1


def test_a_worker_that_fails_or_is_told_to_exit_during_a_trial_is_not_started_again(
    fleet: FakeFleet, slot: WorkerSlot, owner: Owner
) -> None:
    slot.start()
    process, _ = loading(fleet, slot, Trying("a.onnx"))
    process.say(Failed("RuntimeError: rows depend on each other", ""))
    process.end(1)
    fleet.settle()
    assert owner.events == ["hello", "end"]
    slot.start()
    process, _ = loading(fleet, slot, Trying("a.onnx"))
    fleet.settle()
    slot.exit()
    process.end(0)
    fleet.settle()
    assert owner.events == ["hello", "end", "hello", "end"]
    assert len(fleet.processes) == 2


@pytest.mark.parametrize("last_breath", [False, True])
def test_what_the_process_said_of_its_end(fleet: FakeFleet, slot: WorkerSlot, owner: Owner, last_breath: bool) -> None:
    process = start(fleet, slot)
    process.hello()
    fleet.settle()
    process.say(Failed("NameError: no such thing", "line 2"))
    if not last_breath:
        fleet.settle()
    process.end(1)
    fleet.settle()
    (end,) = owner.ends
    assert (end.text(), end.traceback, end.code) == ("NameError: no such thing", "line 2", 1)
    assert owner.served == [False]


def test_a_process_that_ends_before_it_is_told_what_to_load(fleet: FakeFleet, slot: WorkerSlot, owner: Owner) -> None:
    process = start(fleet, slot)
    process.hello()
    process.end(-signal.SIGILL)
    fleet.settle()
    assert owner.ends[0].brief() == "it was ended by signal 4 (SIGILL)"
    assert process.signals == []


def test_a_process_that_is_started_again_knows_nothing_of_the_one_before(
    fleet: FakeFleet, slot: WorkerSlot, owner: Owner
) -> None:
    first = start(fleet, slot)
    first.say(Failed("no luck", "line 1"))
    first.say(Leaving(15))
    first.end(1)
    fleet.settle()
    second = serve(fleet, slot)
    second.end(3)
    fleet.settle()
    assert [(end.failure, end.signalled, end.code) for end in owner.ends] == [("no luck", 15, 1), (None, None, 3)]


def test_a_process_that_cannot_be_started(fleet: FakeFleet, slot: WorkerSlot, owner: Owner) -> None:
    fleet.refusal = "its process cannot be started: too many open files"
    slot.start()
    assert owner.events == ["end"]
    assert owner.ends[0].text() == fleet.refusal
    assert owner.served == [False]


@pytest.mark.parametrize(
    ("hello", "text"),
    [
        (Hello("9.9.9", CHANNEL_VERSION, 1), "its servoir has version 9.9.9, the server's has 1.2.3"),
        (Hello(VERSION, 8, 1), "its servoir has channel_version 8, the server's has 7"),
    ],
)
def test_a_worker_of_another_installation(
    fleet: FakeFleet, slot: WorkerSlot, owner: Owner, hello: Hello, text: str
) -> None:
    process = start(fleet, slot)
    process.say(hello)
    fleet.settle()
    assert process.signals == [signal.SIGKILL]
    assert owner.events == ["end"]
    assert text in owner.ends[0].text()


def test_a_worker_that_breaks_the_control_protocol(fleet: FakeFleet, slot: WorkerSlot, owner: Owner) -> None:
    process = serve(fleet, slot)
    process.say(Exit())
    fleet.settle()
    assert process.signals == [signal.SIGKILL]
    assert owner.ends[0].text() == (
        "it broke the control protocol: ControlError: it sent a message that only the server sends: exit"
    )


def test_a_worker_that_the_owner_refuses(fleet: FakeFleet, slot: WorkerSlot, owner: Owner) -> None:
    owner.refusal = "it describes other methods"
    process = start(fleet, slot)
    process.hello()
    fleet.settle()
    process.ready()
    fleet.settle()
    assert process.signals == [signal.SIGKILL]
    assert owner.ends[0].text() == "it describes other methods"
    assert owner.served == [False]


def test_the_first_reason_to_end_a_process_counts(fleet: FakeFleet, slot: WorkerSlot, owner: Owner) -> None:
    process = serve(fleet, slot)
    process.dies_when_killed = False
    slot.end_for("it broke the channel")
    slot.end_for("it broke something else")
    process.end(-signal.SIGKILL)
    fleet.settle()
    assert owner.ends[0].text() == "it broke the channel"


def test_a_worker_that_leaves_is_drained_first(fleet: FakeFleet, slot: WorkerSlot, owner: Owner) -> None:
    process = serve(fleet, slot)
    process.told()  # what it is to load
    fleet.core.busy = {1, 2}
    process.say(Leaving(signal.SIGTERM))
    fleet.until(lambda: len(fleet.core.of("drain")) > 2)
    assert state(slot) is WorkerState.LEAVING
    # Functions that still run may call the worker's models, whose lane therefore goes on.
    assert set(fleet.core.of("drain")) == {(1,)}
    fleet.core.busy = {2}
    fleet.until(lambda: (2,) in fleet.core.of("drain"))
    assert state(slot) is WorkerState.LEAVING
    fleet.core.busy = set()
    fleet.until(lambda: state(slot) is WorkerState.EXITING)
    assert isinstance(process.told(), Exit)
    process.end(0)
    fleet.settle()
    assert owner.ends[0].by_others
    assert owner.served == [True]
    assert process.signals == []


def test_a_worker_that_gets_the_servers_own_signal_serves_on(fleet: FakeFleet, slot: WorkerSlot, owner: Owner) -> None:
    process = serve(fleet, slot)
    process.say(Leaving(signal.SIGTERM))
    fleet.context.end.has_begun = True  # a moment later
    fleet.settle()
    process.say(Leaving(signal.SIGTERM))
    fleet.settle()
    assert state(slot) is WorkerState.READY
    assert fleet.core.of("drain") == []
    slot.exit()
    assert told_exit(process)
    process.end(0)
    fleet.settle()
    assert owner.ends[0].by_others


def test_a_worker_does_not_drain_on_a_core_that_is_stopped(fleet: FakeFleet, slot: WorkerSlot) -> None:
    process = serve(fleet, slot)
    fleet.core.is_stopped = True
    process.say(Leaving(signal.SIGTERM))
    fleet.settle()
    assert state(slot) is WorkerState.LEAVING
    slot.exit()
    assert told_exit(process)
    process.end(0)
    fleet.settle()
    assert state(slot) is WorkerState.GONE


def test_leaving_before_it_is_ready_is_remembered_for_the_end(fleet: FakeFleet, slot: WorkerSlot, owner: Owner) -> None:
    process = start(fleet, slot)
    process.hello()
    fleet.settle()
    process.say(Leaving(signal.SIGINT))
    fleet.settle()
    assert state(slot) is WorkerState.LOADING
    process.end(0)
    fleet.settle()
    assert owner.ends[0].by_others


def test_exit_is_told_once(fleet: FakeFleet, slot: WorkerSlot) -> None:
    process = serve(fleet, slot)
    process.told()
    slot.exit()
    slot.exit()
    assert state(slot) is WorkerState.EXITING
    assert isinstance(process.told(), Exit)
    process.worker.set_timeout(0.001)
    with pytest.raises(RuntimeError, match="cannot be read"):
        process.told()


def test_a_worker_that_cannot_be_told_is_killed(fleet: FakeFleet, slot: WorkerSlot) -> None:
    process = start(fleet, slot)
    process.worker.close()
    slot.exit()
    assert process.signals == [signal.SIGKILL]


def test_a_worker_that_is_told_to_exit_while_it_starts(fleet: FakeFleet, slot: WorkerSlot, owner: Owner) -> None:
    process = start(fleet, slot)
    slot.exit()
    process.hello()
    process.ready()
    fleet.settle()
    assert state(slot) is WorkerState.EXITING
    assert owner.events == []
    assert fleet.core.of("attach") == []
    assert isinstance(process.told(), Exit)


def test_without_a_process_there_is_nobody_to_tell(slot: WorkerSlot) -> None:
    slot.kill()
    slot.end_for("no reason")
    slot.exit()
    assert state(slot) is WorkerState.GONE


def test_waiting(fleet: FakeFleet, slot: WorkerSlot) -> None:
    slot.wait(0.001)
    assert state(slot) is WorkerState.WAITING
    assert slot.snapshot().start_at > 0
    assert fleet.changes == 0
    fleet.until(lambda: fleet.changes)


@pytest.mark.parametrize("has_pidfd", [True, False])
def test_a_worker_that_closes_its_control_socket_and_goes_on_is_ended(
    fleet: FakeFleet, slot: WorkerSlot, owner: Owner, has_pidfd: bool
) -> None:
    fleet.has_pidfd = has_pidfd
    process = serve(fleet, slot)
    process.worker.close()
    fleet.until(lambda: owner.ends)
    assert process.signals == [signal.SIGKILL]
    assert owner.ends[0].text() == "it closed its control socket but went on"
    assert process.is_closed


def test_without_a_descriptor_of_the_process_its_end_is_seen_by_the_control_socket(
    fleet: FakeFleet, slot: WorkerSlot, owner: Owner
) -> None:
    fleet.has_pidfd = False
    process = serve(fleet, slot)
    process.end(4)
    fleet.until(lambda: owner.ends)
    assert owner.ends[0].brief() == "it exited with code 4"
    assert process.signals == []


def test_events_of_a_process_that_was_replaced_are_not_the_new_ones(
    fleet: FakeFleet, slot: WorkerSlot, owner: Owner
) -> None:
    fleet.has_pidfd = False
    first = serve(fleet, slot)
    first.worker.close()  # whose end is looked for from now on
    fleet.loop.turn(0)
    first.end(1)
    fleet.until(lambda: owner.ends)
    second = serve(fleet, slot)
    fleet.settle()
    assert state(slot) is WorkerState.READY
    assert second.signals == []
    assert len(owner.ends) == 1


@pytest.mark.parametrize(
    ("functions", "models", "expected"),
    [
        ((3, 4), (), [LaneOffer("F", [3, 4])]),  # type: ignore[arg-type]
        ((), (0, 1), [LaneOffer("M", [0, 1])]),  # type: ignore[arg-type]
        ((2,), (0,), [LaneOffer("F", [2]), LaneOffer("M", [0])]),  # type: ignore[arg-type]
        ((), (), [LaneOffer("F", [])]),  # type: ignore[arg-type]  # the version runs, though it has no stages
    ],
)
def test_lanes_that_a_worker_offers(functions: Any, models: Any, expected: list[LaneOffer]) -> None:
    lanes: Any = ["F", "M"]
    assert lane_offers(lanes, Ready(SPEC, functions, models, None, ())) == expected
