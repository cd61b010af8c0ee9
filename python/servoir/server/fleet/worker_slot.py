"""The slot of a worker: starts a process, listens to it, drains it, and notices its end; then the next may be started.

It belongs to the supervisor's thread. The slot's owner decides what its events mean for the version.
"""

from __future__ import annotations

import contextlib
import signal
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from servoir import log
from servoir.control.messages import Exit, Failed, Hello, Leaving, Load, Message, Opening, Ready, Trying
from servoir.errors import ControlError
from servoir.server.fleet.context import FleetContext
from servoir.server.fleet.restart import CrashHistory, keeps_crashing
from servoir.server.fleet.states import WorkerState
from servoir.server.fleet.version_policy import WorkerSnapshot
from servoir.server.fleet.worker_process import NoDescriptorsError, ProcessExit, WorkerProcess
from servoir.server.fleet.worker_role import WorkerRole

if TYPE_CHECKING:
    from servoir._core import Lane

_DRAIN_POLL = 0.005
_END_POLL = 0.02
_END_WITHIN = 1.0  # seconds within which a process must end after it has closed its control socket


@dataclass(frozen=True)
class LaneOffer:
    """A lane of a worker, and the callees that the worker runs on it."""

    lane: Lane
    callees: list[int]


class SlotOwner(Protocol):
    """Receives the events of a slot; here in the order in which they can come."""

    def on_hello(self, slot: WorkerSlot) -> Load:
        """The process runs. Returns what it is to load."""

    def on_trying(self, slot: WorkerSlot) -> None:
        """The process runs a model for the first time, with made-up values."""

    def on_ready(self, slot: WorkerSlot, ready: Ready) -> None:
        """The process has loaded. If this raises RuntimeError the process is ended, with the text as the reason."""

    def on_end(self, slot: WorkerSlot, end: ProcessExit, *, had_served: bool) -> None:
        """The process has ended and was cleaned up, or it could not be started. The owner calls the slot's wait() or
        give_up() then."""


class WorkerSlot:
    def __init__(self, role: WorkerRole, context: FleetContext, owner: SlotOwner) -> None:
        self.role = role
        self.state = WorkerState.WAITING
        self.start_at = 0.0  # when to start the next process, in monotonic time; while it waits
        self.history = CrashHistory()
        self._context = context
        self._owner = owner
        self._process: WorkerProcess | None = None
        self._pid: int | None = None  # of the last process
        self._attachments: list[int] = []
        self._untried: list[str] = []  # models whose trial has ended a process
        self._forget_words()

    def _forget_words(self) -> None:
        self._failure: str | None = None  # what the process itself said
        self._traceback = ""
        self._signalled: int | None = None  # the signal that the process said it was sent
        self._ended_for: str | None = None  # why the server ended the process
        self._overdue = False  # it was because a batch took longer than it may
        self._opening: str | None = None  # the model whose files the process opens
        self._trying: str | None = None  # the model that the process runs with made-up values

    @property
    def label(self) -> str:
        return self.role.label(self._pid)

    def snapshot(self) -> WorkerSnapshot:
        return WorkerSnapshot(
            self.state,
            self.role.loads_models,
            self.start_at,
            self.history.times[-1] if self.history.times else float("-inf"),
            keeps_crashing(self.history),
        )

    # ---- what the owner asks for

    def start(self) -> None:
        """Starts a process. If that fails the owner receives on_end() at once."""
        self._forget_words()
        try:
            process = self._context.start_process(self.role, self._context.core, is_first=self._pid is None)
        except Exception as error:
            end = ProcessExit(code=None, failure=str(error), lacked_descriptors=isinstance(error, NoDescriptorsError))
            self._owner.on_end(self, end, had_served=False)
            return
        self._process = process
        self._pid = process.pid
        self.state = WorkerState.STARTING
        self._context.loop.watch(process.control.fileno(), lambda: self._receive(process))
        if process.pidfd is not None:
            self._context.loop.watch(process.pidfd, lambda: self._see_end(process))
        log.info("started %s", self.label)

    def wait(self, seconds: float) -> None:
        """The next process is to be started in so many seconds. Only without a process."""
        self.state = WorkerState.WAITING
        self.start_at = time.monotonic() + seconds
        self._context.loop.after(seconds, self._context.changed)

    def give_up(self) -> None:
        """No process is started any more. Only without a process."""
        self.state = WorkerState.GONE

    def attach(self, servable: int, ready: Ready) -> None:
        """Gives the lanes of a process that is ready to the core. Raises RuntimeError if the core refuses them."""
        assert self._process is not None
        for offer in lane_offers(self._process.lanes, ready):
            self._attachments.append(self._context.core.attach_lane(servable, offer.lane, offer.callees, self.label))
        self._process.lanes = []  # the core has those that are used

    def has_attachment(self, attachment: int) -> bool:
        return attachment in self._attachments

    def exit(self) -> None:
        """Tells the worker to finish the batch that it runs, and to exit."""
        if self._process is None:
            self.give_up()
            return
        if self.state is WorkerState.EXITING:
            return
        self.state = WorkerState.EXITING
        try:
            self._process.send(Exit())
        except ControlError:
            self.kill()

    def kill(self) -> None:
        if self._process is not None:
            self._process.signal(signal.SIGKILL)

    def end_for(self, reason: str, *, overdue: bool = False) -> None:
        """Kills a process that is out of order. Its end is noticed as any other's. The first reason is kept. `overdue`:
        the batch that it runs takes longer than it may."""
        if overdue and self._process is not None and self._process.is_stopped():
            reason, overdue = f"{reason}; the process had been stopped (SIGSTOP)", False
        if self._ended_for is None:
            self._ended_for, self._overdue = reason, overdue
        self.kill()

    def child_fds(self) -> list[int]:
        """Descriptors that a forked child must not keep open."""
        process = self._process
        if process is None:
            return []
        return [process.control.fileno(), *([] if process.pidfd is None else [process.pidfd])]

    # ---- what the process says

    def _receive(self, process: WorkerProcess) -> None:
        if process is not self._process:
            return
        try:
            messages, is_open = process.control.receive_ready()
            for message in messages:
                self._on_message(process, message)
        except Exception as error:
            self.end_for(f"it broke the control protocol: {type(error).__name__}: {error}")
            is_open = False
        if not is_open and process is self._process:
            self._context.loop.unwatch(process.control.fileno())
            self._await_end(process, time.monotonic() + _END_WITHIN)

    def _on_message(self, process: WorkerProcess, message: Message) -> None:
        if isinstance(message, Hello):
            self._on_hello(process, message)
        elif isinstance(message, Ready):
            self._on_ready(message)
        elif isinstance(message, (Failed, Leaving, Opening, Trying)):
            self._take_last_word(message)
            if isinstance(message, Leaving):
                self._context.loop.after(self._context.end.seen_within, lambda: self._leave(process))
            elif isinstance(message, Trying) and message.model is not None and self.state is WorkerState.LOADING:
                self._owner.on_trying(self)
        else:
            raise ControlError(f"it sent a message that only the server sends: {message.kind}")

    def _take_last_word(self, message: Message) -> None:
        """Remembers what says why the process is about to end."""
        if isinstance(message, Failed):
            self._failure, self._traceback = message.text, message.traceback
        elif isinstance(message, Leaving):
            self._signalled = message.signal
        elif isinstance(message, Opening):
            self._opening = message.model
        elif isinstance(message, Trying):
            self._trying = message.model

    def _on_hello(self, process: WorkerProcess, hello: Hello) -> None:
        from servoir import _core

        for what, theirs, ours in (
            ("version", hello.version, _core.__version__),
            ("channel_version", hello.channel_version, _core.channel_version),
        ):
            if theirs != ours:
                self.end_for(
                    f"its servoir has {what} {theirs}, the server's has {ours}; both should be one installation"
                )
                return
        if self.state is not WorkerState.STARTING:
            return  # it has been told to exit
        self.state = WorkerState.LOADING
        load = replace(self._owner.on_hello(self), untried=tuple(self._untried))
        try:
            process.send(load)
        except ControlError as error:
            if not isinstance(error.__cause__, ConnectionError):
                raise
            # The process has ended. That will be noticed, and what is then known says more than this error.

    def _on_ready(self, ready: Ready) -> None:
        if self.state is not WorkerState.LOADING:
            return  # it has been told to exit
        try:
            self._owner.on_ready(self, ready)
        except RuntimeError as error:
            self.end_for(str(error))
            return
        self.state = WorkerState.READY
        log.info("%s is ready", self.label)
        self._context.changed()

    # ---- how the process leaves

    def _leave(self, process: WorkerProcess) -> None:
        """The process was sent a signal. If the whole server was, the worker is needed until the server has no request
        left."""
        if process is self._process and self.state is WorkerState.READY and not self._context.end.has_begun:
            self.state = WorkerState.LEAVING
            self._drain()

    def _drain(self) -> None:
        """Tells the worker to exit as soon as it holds nothing any more."""
        if self.state is not WorkerState.LEAVING:
            return
        try:
            # The models' lane comes last: functions that still run may call the models.
            empty = all(self._context.core.drain_lane(attachment) for attachment in self._attachments)
        except RuntimeError:
            return  # the core was stopped, and the worker will be told to exit
        if empty:
            self.exit()
        else:
            self._context.loop.after(_DRAIN_POLL, self._drain)

    def _await_end(self, process: WorkerProcess, deadline: float) -> None:
        """A worker that has closed its control socket should end; if it does not, it is killed."""
        if process is not self._process:
            return
        if process.has_ended():
            self._see_end(process)
            return
        if time.monotonic() > deadline:
            self.end_for("it closed its control socket but went on")
            if process.pidfd is not None:
                return  # which becomes readable at the end
            deadline = float("inf")
        self._context.loop.after(_END_POLL, lambda: self._await_end(process, deadline))

    def _see_end(self, process: WorkerProcess) -> None:
        """Cleans up after the process, if it has ended."""
        if process is not self._process or not process.has_ended():
            return
        self._context.loop.unwatch(process.control.fileno())
        self._read_last_words(process)
        if process.pidfd is not None:
            self._context.loop.unwatch(process.pidfd)
        end = process.exit(
            ended_for=self._ended_for,
            overdue=self._overdue,
            failure=self._failure,
            traceback=self._traceback,
            signalled=self._signalled,
            opening=self._opening,
        )
        for attachment in self._attachments:
            with contextlib.suppress(RuntimeError):  # the core is stopped before the workers
                if self._context.core.detach_lane(attachment, end.brief(), end.by_itself):
                    end = replace(end, by_request=True)
        self._attachments.clear()
        process.close()
        self._process = None
        if self._trial_ended(end):
            self.start()
            return
        had_served = self.state.serves
        self._owner.on_end(self, end, had_served=had_served)
        self._context.changed()

    def _trial_ended(self, end: ProcessExit) -> bool:
        """Whether the process was ended by made-up values, so that another one can do without them."""
        model = self._trying
        by_itself = end.ended_for is None and end.failure is None and not end.by_others
        if self.state is not WorkerState.LOADING or model is None or model in self._untried or not by_itself:
            return False
        log.warning(
            "the trial of model '%s' with made-up values has ended %s: %s. It is started again and serves the model"
            " without a trial, so whether the instances of a batch depend on each other is not known; with trial=False"
            " declare_model says so from the start",
            model,
            self.label,
            end.brief(),
        )
        self._untried.append(model)
        return True

    def _read_last_words(self, process: WorkerProcess) -> None:
        """Reads what the process sent before its end."""
        with contextlib.suppress(ControlError):
            messages, _ = process.control.receive_ready()
            for message in messages:
                self._take_last_word(message)


def lane_offers(lanes: list[Lane], ready: Ready) -> list[LaneOffer]:
    """The lanes together with what the worker runs on them; the lane of the functions comes first."""
    function_lane, *model_lane = lanes
    offers = []
    if ready.functions or not ready.models:
        # A servable whose methods have no stages gets a lane as well, because a version runs once it has a lane.
        offers.append(LaneOffer(function_lane, list(ready.functions)))
    if ready.models:
        offers.append(LaneOffer(model_lane[0], list(ready.models)))
    return offers
