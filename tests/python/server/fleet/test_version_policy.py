"""What is done next: the policy as a table."""

from __future__ import annotations

from dataclasses import replace

import pytest
from servoir.server.fleet.states import VersionState, WorkerState
from servoir.server.fleet.version_policy import (
    Action,
    ActionKind,
    FleetSnapshot,
    VersionSnapshot,
    WorkerSnapshot,
    next_action,
)

NOW = 1000.0
V = VersionState
W = WorkerState

STARTING, LOADING, READY = WorkerSnapshot(W.STARTING), WorkerSnapshot(W.LOADING), WorkerSnapshot(W.READY)
LEAVING, EXITING, GONE = WorkerSnapshot(W.LEAVING), WorkerSnapshot(W.EXITING), WorkerSnapshot(W.GONE)
DUE = WorkerSnapshot(W.WAITING, start_at=NOW, crashed_at=NOW - 0.1)
LATER = WorkerSnapshot(W.WAITING, start_at=NOW + 0.1, crashed_at=NOW)
# Crashed for the fifth time within a minute.
BROKEN = WorkerSnapshot(W.WAITING, start_at=NOW + 30, crashed_at=NOW, keeps_crashing=True)
BROKEN_BEFORE = WorkerSnapshot(W.WAITING, start_at=NOW + 10, crashed_at=NOW - 20, keeps_crashing=True)


def function_worker(worker: WorkerSnapshot) -> WorkerSnapshot:
    return replace(worker, loads_models=False)


def serving(*workers: WorkerSnapshot) -> VersionSnapshot:
    return VersionSnapshot(V.AVAILABLE, published=True, workers=workers)


def starting(*workers: WorkerSnapshot) -> VersionSnapshot:
    return VersionSnapshot(V.LOADING, launching=True, workers=workers)


CASES: dict[str, tuple[VersionSnapshot, ActionKind | None, int]] = {
    # ---- start
    "new": (VersionSnapshot(V.STARTING, launching=True), ActionKind.START, -1),
    "starts": (starting(STARTING), None, -1),
    "loads": (starting(LOADING, READY), None, -1),
    "serves": (serving(READY, READY), None, -1),
    "lacks function workers": (
        replace(serving(READY, READY), lacks_function_workers=True),
        ActionKind.ADD_FUNCTION_WORKERS,
        -1,
    ),
    "lacks function workers, waits for the others": (
        replace(starting(READY, LOADING), lacks_function_workers=True),
        None,
        -1,
    ),
    "failed to start": (replace(starting(GONE, READY), state=V.FAILED), None, -1),
    "failed to start, one worker would be due": (replace(starting(GONE, DUE), state=V.FAILED), None, -1),
    # ---- restart
    "crashed": (serving(READY, LATER), None, -1),
    "crashed, its time has come": (serving(READY, DUE), ActionKind.RESTART, 1),
    "crashed, two are due": (serving(DUE, DUE), ActionKind.RESTART, 0),
    "restarts": (serving(READY, STARTING), None, -1),
    "only crashed once": (serving(LATER), None, -1),
    # ---- suspend
    "keeps crashing": (serving(BROKEN), ActionKind.SUSPEND, -1),
    "keeps crashing, others serve": (serving(BROKEN, READY), None, -1),
    "keeps crashing, another finishes": (serving(BROKEN, LEAVING), None, -1),
    "keeps crashing, another has crashed after it": (serving(BROKEN_BEFORE, LATER), None, -1),
    "keeps crashing, another had crashed before it": (serving(BROKEN, DUE), ActionKind.SUSPEND, -1),
    "suspended": (replace(serving(BROKEN), state=V.FAILED, published=False), None, -1),
    "suspended, its time has come": (
        replace(serving(replace(BROKEN, start_at=NOW)), state=V.FAILED, published=False),
        ActionKind.RESTART,
        0,
    ),
    # ---- end
    "ended by others": (serving(GONE, GONE), ActionKind.GIVE_UP, -1),
    "ended by others, function workers stay": (serving(GONE, function_worker(READY)), ActionKind.GIVE_UP, -1),
    "one ended by others": (serving(GONE, READY), None, -1),
    "function workers ended by others": (serving(READY, function_worker(GONE)), None, -1),
    "ended by others, another crashed": (serving(GONE, LATER), None, -1),
    "not wanted": (replace(serving(READY), wanted=False), ActionKind.END, -1),
    "not wanted, not even started": (VersionSnapshot(V.STARTING, wanted=False), ActionKind.END, -1),
    "not wanted, starts": (replace(starting(STARTING), wanted=False), ActionKind.END, -1),
    "not wanted, crashed": (replace(serving(DUE), wanted=False), ActionKind.END, -1),
    "not wanted, failed": (replace(starting(GONE), state=V.FAILED, wanted=False), ActionKind.END, -1),
    "not wanted, leaves by itself": (
        replace(serving(LEAVING), state=V.DRAINING, wanted=False),
        ActionKind.END,
        -1,
    ),
    "was told to end": (replace(serving(EXITING, GONE), state=V.DRAINING, wanted=False), None, -1),
    "has ended": (VersionSnapshot(V.ENDED, wanted=False, workers=(GONE,)), None, -1),
}


def ask(*versions: VersionSnapshot, stopping: bool = False) -> Action | None:
    return next_action(FleetSnapshot(NOW, stopping, versions))


@pytest.mark.parametrize("case", CASES)
def test_next_action(case: str) -> None:
    version, kind, worker = CASES[case]
    # A server that stops does not stop again; all else is as it would be.
    action = ask(version, stopping=True)
    assert action == (None if kind is None else Action(kind, 0, worker))
    # A version that has nothing to do does not hold up the others.
    after = ask(serving(READY), version)
    assert after == (None if kind is None else Action(kind, 1, worker))


def test_a_fleet_without_versions_does_nothing() -> None:
    assert ask() is None
    assert ask(stopping=True) is None


@pytest.mark.parametrize(
    ("versions", "stops"),
    [
        ([VersionSnapshot(V.ENDED, wanted=False, workers=(GONE,))], True),
        ([replace(serving(GONE, function_worker(EXITING)), state=V.DRAINING, wanted=False)], True),
        ([VersionSnapshot(V.ENDED, wanted=False, workers=(GONE,)), serving(READY)], False),
        ([VersionSnapshot(V.ENDED, wanted=False, workers=(GONE,)), serving(LATER)], False),
        ([VersionSnapshot(V.ENDED, wanted=False, workers=(GONE,)), starting(LOADING)], False),
        ([replace(starting(GONE), state=V.FAILED)], False),  # the call that starts it stops everything
    ],
)
def test_the_server_stops_when_no_version_can_serve_any_more(versions: list[VersionSnapshot], stops: bool) -> None:
    assert ask(*versions) == (Action(ActionKind.STOP) if stops else None)
    assert ask(*versions, stopping=True) is None


def carried_out(version: VersionSnapshot, action: Action) -> VersionSnapshot:
    """The version after the action, when no other event comes in between."""
    workers = list(version.workers)
    kind = action.kind
    if kind is ActionKind.START:
        return replace(version, workers=(STARTING,))
    if kind is ActionKind.ADD_FUNCTION_WORKERS:
        return replace(version, workers=(*workers, function_worker(STARTING)), lacks_function_workers=False)
    if kind is ActionKind.RESTART:
        workers[action.worker] = replace(workers[action.worker], state=W.STARTING)
        return replace(version, workers=tuple(workers))
    if kind is ActionKind.SUSPEND:
        return replace(version, state=V.FAILED, published=False)
    if kind is ActionKind.GIVE_UP:
        return replace(version, wanted=False, published=False)
    assert kind is ActionKind.END
    without_process = (W.WAITING, W.GONE)
    told = tuple(replace(w, state=W.GONE if w.state in without_process else W.EXITING) for w in workers)
    return replace(version, workers=told, state=V.ENDED if all(w.state is W.GONE for w in told) else V.DRAINING)


@pytest.mark.parametrize("case", CASES)
def test_what_was_carried_out_is_not_answered_again(case: str) -> None:
    version = CASES[case][0]
    seen: list[tuple[ActionKind, int]] = []
    while (action := ask(version, stopping=True)) is not None:
        step = (action.kind, action.worker)
        assert step not in seen, seen
        seen.append(step)
        version = carried_out(version, action)
    assert len(seen) <= 3
