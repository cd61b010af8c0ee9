"""What to do next with the versions of a fleet: a pure function of what is wanted and what is there.

After every event the supervisor asks, carries the answer out, and asks again until there is nothing to do. The policy
remembers nothing: an action that was carried out shows in the next snapshot; otherwise it is the answer again.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from servoir.server.fleet.states import VersionState, WorkerState


@dataclass(frozen=True)
class WorkerSnapshot:
    state: WorkerState
    loads_models: bool = True
    start_at: float = 0.0  # while it waits
    crashed_at: float = float("-inf")  # the last time
    keeps_crashing: bool = False


@dataclass(frozen=True)
class VersionSnapshot:
    state: VersionState
    wanted: bool = True
    launching: bool = False  # the call that starts it waits for it
    published: bool = False  # the core knows it
    workers: tuple[WorkerSnapshot, ...] = ()
    lacks_function_workers: bool = False

    @property
    def has_lost_its_workers(self) -> bool:
        """Whether all workers that load the models are gone for good. The other workers are of no use without them."""
        leading = [worker for worker in self.workers if worker.loads_models]
        return bool(leading) and all(worker.state is WorkerState.GONE for worker in leading)


@dataclass(frozen=True)
class FleetSnapshot:
    now: float  # monotonic time
    stopping: bool
    versions: tuple[VersionSnapshot, ...]


class ActionKind(enum.Enum):
    START = "start"  # make the first workers of the version, and start them
    ADD_FUNCTION_WORKERS = "add function workers"  # make and start the workers that run Python stages only
    RESTART = "restart"  # start a process for the worker whose time has come
    SUSPEND = "suspend"  # refuse requests until a worker is ready again
    GIVE_UP = "give up"  # the workers were ended from outside: the version is taken for unwanted
    END = "end"  # tell all workers of the version to exit
    STOP = "stop"  # stop the server: no version can serve any more


@dataclass(frozen=True)
class Action:
    kind: ActionKind
    version: int = -1  # index in the snapshot
    worker: int = -1  # index in the version


def next_action(fleet: FleetSnapshot) -> Action | None:
    """Returns the action that comes first, or None if there is nothing to do before the next event."""
    for index, version in enumerate(fleet.versions):
        action = _next_of_version(index, version, fleet.now)
        if action is not None:
            return action
    nobody_left = all(version.has_lost_its_workers and not version.launching for version in fleet.versions)
    if fleet.versions and nobody_left and not fleet.stopping:
        return Action(ActionKind.STOP)
    return None


def _next_of_version(index: int, version: VersionSnapshot, now: float) -> Action | None:
    workers = version.workers
    if not version.wanted:
        told = all(worker.state in (WorkerState.EXITING, WorkerState.GONE) for worker in workers)
        is_over = version.state in (VersionState.DRAINING, VersionState.ENDED)
        return None if told and is_over else Action(ActionKind.END, index)
    if version.launching and version.state is VersionState.FAILED:
        return None  # the caller that started it is told, and decides what becomes of it
    if not workers:
        return Action(ActionKind.START, index)
    if version.has_lost_its_workers:
        return Action(ActionKind.GIVE_UP, index)
    if version.published and _is_out_of_order(workers):
        return Action(ActionKind.SUSPEND, index)
    for number, worker in enumerate(workers):
        if worker.state is WorkerState.WAITING and worker.start_at <= now:
            return Action(ActionKind.RESTART, index, number)
    if version.lacks_function_workers and all(worker.state is WorkerState.READY for worker in workers):
        return Action(ActionKind.ADD_FUNCTION_WORKERS, index)
    return None


def _is_out_of_order(workers: Sequence[WorkerSnapshot]) -> bool:
    """Whether no worker can serve, and the worker that crashed last keeps crashing."""
    if any(worker.state.serves for worker in workers):
        return False
    return max(workers, key=lambda worker: worker.crashed_at).keeps_crashing
