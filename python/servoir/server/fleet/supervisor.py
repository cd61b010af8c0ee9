"""Supervisor: the thread that does everything about workers, and what other threads ask of it.

The thread is not a daemon, so that a script that has come to its end goes on serving. It ends when it is told to stop,
or when the last worker is gone for good. After every event it does what the policy of the versions says.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ParamSpec

from servoir import log, standard_streams
from servoir.server.fleet.context import FleetContext, StartProcess
from servoir.server.fleet.launch import LaunchCall
from servoir.server.fleet.loop import Loop
from servoir.server.fleet.served_version import ServedVersion
from servoir.server.fleet.states import WorkerState
from servoir.server.fleet.version_policy import Action, ActionKind, FleetSnapshot, next_action
from servoir.server.fleet.worker_process import start_process
from servoir.server.fleet.worker_slot import WorkerSlot
from servoir.server.plan import ServablePlan

if TYPE_CHECKING:
    from servoir._core import Server

_Parameters = ParamSpec("_Parameters")

KILL_AFTER = 10.0  # seconds within which a worker must finish what it runs
_END_POLL = 0.002


class Supervisor:
    def __init__(
        self,
        server: Server,
        usable_cores: float,
        nobody_left: Callable[[], None],
        start_process: StartProcess = start_process,
    ) -> None:
        """`nobody_left` is called in the supervisor's thread, before it ends, when the last worker is gone for good."""
        self._loop = Loop()
        self._context = FleetContext(server, self._loop, usable_cores, start_process, _weakly(self._look_soon))
        self._nobody_left = nobody_left
        self._versions: list[ServedVersion] = []
        self._launches: list[LaunchCall] = []
        self._will_look = False
        self._stopping = False
        self._finished = False
        self._over = False  # the thread has nothing left to do
        self._thread = threading.Thread(target=self._run, name="servoir-workers", daemon=False)
        server.on_lane_failure(_weakly(self._lane_failed))

    # ---- any thread

    def start(self, plans: Sequence[ServablePlan]) -> None:
        """Starts the workers of the plans, and returns when all are ready. Raises RuntimeError with the reason of the
        first that fails; the others go on running until stop()."""
        launch = LaunchCall(list(plans))
        self._loop.post(lambda: self._begin(launch))
        if not self._thread.is_alive():
            self._thread.start()
        launch.wait()
        if launch.error is not None:
            raise RuntimeError(launch.error)
        for line in launch.report:
            standard_streams.say(line)

    def foresee_end(self) -> None:
        """stop() will be called. A worker that is sent SIGINT or SIGTERM from now on serves until then."""
        self._context.end.has_begun = True

    def stop(self) -> None:
        """Ends all workers, and waits until they have ended and the thread has nothing left to do."""
        self._loop.post(self._begin_stop)
        if self._thread.ident is None or self._thread is threading.current_thread():
            return
        # Not join(): this may run in a signal handler that has interrupted the main thread inside the threading module,
        # where it holds the locks that join() needs.
        while not self._over:
            time.sleep(_END_POLL)

    def kill(self) -> None:
        """Kills all workers."""
        self._loop.post(self._kill_all)

    def child_fds(self) -> list[int]:
        """The descriptors that a forked child must close: they would keep workers alive after the server's end."""
        return [fd for slot in self._slots() for fd in slot.child_fds()]

    def _lane_failed(self, attachment: int, reason: str, overdue: bool) -> None:
        """Called in a thread of the core when the worker at the other end of the lane must be ended."""
        self._loop.post(lambda: self._end_offender(attachment, reason, overdue))

    # ---- the supervisor's thread

    def _run(self) -> None:
        try:
            self._loop.run(lambda: self._finished)
        finally:
            for version in self._versions:
                version.slots.clear()  # which refer to the version, and through it to the core
            self._over = True

    def _slots(self) -> list[WorkerSlot]:
        return [slot for version in self._versions for slot in version.slots]

    def _begin(self, launch: LaunchCall) -> None:
        if self._stopping:
            launch.fail("the server is being stopped")
            return
        known = {(version.plan.name, version.plan.version) for version in self._versions}
        for plan in launch.plans:
            if (plan.name, plan.version) in known:
                launch.fail(f"Servable '{plan.name}' version {plan.version} is already running")
                return
        sharing = sum(version.plan.model_workers for version in self._versions)
        sharing += sum(plan.model_workers for plan in launch.plans)
        launch.versions = [ServedVersion(plan, sharing, self._context) for plan in launch.plans]
        self._launches.append(launch)
        self._versions += launch.versions
        self._look()

    def _look_soon(self) -> None:
        if not self._will_look:
            self._will_look = True
            self._loop.post(self._look)

    def _look(self) -> None:
        """Does what there is to do, and ends the launches that have succeeded or failed."""
        self._will_look = False
        try:
            while (action := next_action(self._snapshot())) is not None:
                self._carry_out(action)
        finally:
            for launch in self._launches:
                launch.settle()
            self._launches = [launch for launch in self._launches if not launch.is_over]
        self._finished = self._stopping and all(slot.state is WorkerState.GONE for slot in self._slots())

    def _snapshot(self) -> FleetSnapshot:
        versions = tuple(version.snapshot() for version in self._versions)
        return FleetSnapshot(time.monotonic(), self._stopping, versions)

    def _carry_out(self, action: Action) -> None:
        if action.kind is ActionKind.STOP:
            log.error("no worker is left, the servers stop")
            self._begin_stop()
            self._nobody_left()
            return
        version = self._versions[action.version]
        try:
            if action.kind is ActionKind.RESTART:
                version.slots[action.worker].start()
            else:
                _STEPS[action.kind](version)
        except Exception as error:
            if version.launching:  # a caller is blocked on it
                version.fail(f"{type(error).__name__}: {error}")
            raise

    def _end_offender(self, attachment: int, reason: str, overdue: bool) -> None:
        for slot in self._slots():
            if slot.has_attachment(attachment):
                slot.end_for(reason, overdue=overdue)

    def _begin_stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        for launch in self._launches:
            launch.fail("the server was stopped while servables were starting")
        for version in self._versions:
            version.wanted = False
        self._loop.after(KILL_AFTER, self._kill_all)
        self._look_soon()

    def _kill_all(self) -> None:
        for slot in self._slots():
            slot.kill()


_STEPS: dict[ActionKind, Callable[[ServedVersion], None]] = {
    ActionKind.START: ServedVersion.start,
    ActionKind.ADD_FUNCTION_WORKERS: ServedVersion.add_function_workers,
    ActionKind.SUSPEND: ServedVersion.suspend,
    ActionKind.GIVE_UP: ServedVersion.give_up,
    ActionKind.END: ServedVersion.end,
}


def _weakly(method: Callable[_Parameters, None]) -> Callable[_Parameters, None]:
    """Makes a callback for an object that the supervisor owns. A reference to the supervisor would keep both alive."""
    reference = weakref.WeakMethod(method)

    def call(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> None:
        alive = reference()
        if alive is not None:
            alive(*args, **kwargs)

    return call
