"""What this process serves: a core with its listeners, and a supervisor with its workers. It is made when it is needed.

All start functions go through here, so that a failure of any of them stops everything: users of the predecessor rely on
that.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import threading
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from servoir import forks, log, machine, settings, standard_streams
from servoir.server import signals
from servoir.server.draining import drain

if TYPE_CHECKING:
    from servoir._core import Server
    from servoir.server.fleet.supervisor import Supervisor
    from servoir.server.plan import ServablePlan
    from servoir.server.tls import PemFile

F = TypeVar("F", bound=Callable[..., Any])

_lock = threading.RLock()
_instance: ServingInstance | None = None
_max_enqueued_requests: int | None = None


class ServingInstance:
    """Lives from the first call of a start function to stop()."""

    def __init__(self) -> None:
        from servoir import _core

        standard_streams.take_descriptors()
        self.usable_cores = _core.usable_cores()
        arena_limit = machine.arena_limit()
        io_threads = machine.io_threads(self.usable_cores)
        machine.backend_threads(self.usable_cores, 1, 1)  # refuses a wrong setting before a worker asks for it
        log.info(
            "usable cores %g, arena limit %d MiB, I/O threads %d", self.usable_cores, arena_limit >> 20, io_threads
        )
        machine.raise_descriptor_limit()
        self.core: Server = _core.Server(
            arena_limit=arena_limit,
            io_threads=io_threads,
            max_connections=settings.MAX_CONNECTIONS.value(),
            take_nonfinite=bool(settings.JSON_NAN.value()),
        )
        if _max_enqueued_requests is not None:
            self.core.set_max_enqueued_requests(_max_enqueued_requests)
        self.listeners: dict[str, int] = {}
        self.supervisor: Supervisor | None = None
        self._starting = threading.Lock()
        self._ending = threading.RLock()  # reentrant: a signal handler may interrupt the thread that holds it
        self._core_stopped = False
        self._hurried = False
        self._drain_delay = settings.DRAIN_DELAY.value()
        self._stop_grace = settings.STOP_GRACE.value()

    def listen(self, address: str, protocol: str, max_message_bytes: int, tls: dict[str, PemFile | None] | None) -> str:
        """Returns the address that is bound."""
        with _lock:
            if protocol in self.listeners:
                raise RuntimeError(f"the {_SERVER_NAMES[protocol]} server is already running in this process")
            listener = self.core.listen(address, protocol, max_message_bytes, tls)
            self.listeners[protocol] = listener
            return self.core.listener_address(listener)

    def start_servables(self, plans: list[ServablePlan]) -> None:
        from servoir.server.fleet.supervisor import Supervisor

        with self._starting:
            if self.supervisor is None:
                self.supervisor = Supervisor(self.core, self.usable_cores, self._nobody_left)
            self.supervisor.start(plans)

    def stop_core(self) -> None:
        """The ports are free when this returns."""
        with self._ending:
            if not self._core_stopped:
                self._core_stopped = True
                self.core.stop()

    def end(self, grace: float | None = None, drain_delay: float | None = None) -> None:
        """Lets requests come to their end, closes the ports, and then ends the workers. See draining.drain(); None is
        what the settings say."""
        supervisor = self.supervisor
        if supervisor is not None:
            supervisor.foresee_end()
        with self._ending:
            if self.listeners and not self._core_stopped:
                delay = self._drain_delay if drain_delay is None else drain_delay
                drain(self.core, delay, self._stop_grace if grace is None else grace, lambda: self._hurried)
            self.stop_core()
        if supervisor is not None:
            supervisor.stop()
            self.supervisor = None  # it refers to this object: together they would wait for the garbage collector

    def hurry(self) -> None:
        """end() waits no longer, neither for requests nor for workers."""
        self._hurried = True
        if self.supervisor is not None:
            self.supervisor.kill()

    def _nobody_left(self) -> None:
        """Called in the supervisor's thread."""
        self.stop_core()
        self.supervisor = None
        _forget(self)


_SERVER_NAMES = {"grpc": "gRPC", "rest": "RESTful"}
_ending: list[ServingInstance] = []  # those that are being ended: a second stop() waits for them as well


def instance() -> ServingInstance:
    """Returns the serving instance of this process, and makes it if there is none."""
    global _instance
    with _lock:
        if _instance is None:
            _instance = ServingInstance()
            atexit.unregister(stop_everything)
            atexit.register(stop_everything)
        return _instance


def existing_instance() -> ServingInstance | None:
    """Returns the serving instance of this process, unless there is none or it was stopped."""
    return _instance


def _forget(ended: ServingInstance) -> None:
    global _instance
    with _lock:
        if _instance is ended:
            _instance = None


def _has_something_to_end() -> bool:
    return existing_instance() is not None or bool(_ending)


def stop_everything(grace: float | None = None, drain_delay: float | None = None) -> None:
    """Ends the servers and all workers. May be called at any time; everything can be started again afterwards."""
    global _instance
    with _lock:
        if _instance is not None:
            _ending.append(_instance)
            _instance = None
        ending = list(_ending)
    for each in ending:
        each.end(grace, drain_delay)
    with _lock:
        for each in ending:
            if each in _ending:
                _ending.remove(each)
    signals.restore()


def hurry() -> None:
    """What is being ended ends at once."""
    for each in [_instance, *_ending]:
        if each is not None:
            each.hurry()


_callbacks = signals.Callbacks(_has_something_to_end, stop_everything, hurry)


def stops_on_failure(function: F) -> F:
    """Decorates a start function: if anything goes wrong in it, everything is stopped."""

    @functools.wraps(function)
    def start(*args: Any, **kwargs: Any) -> Any:
        signals.install(_callbacks)
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            if isinstance(error, Exception):
                # The exception has the whole text, which Python prints if the script does not catch it.
                first_line = str(error).partition("\n")[0]
                with contextlib.suppress(ValueError):  # the log's own settings may be what is wrong
                    log.error("%s failed, everything is stopped: %s", function.__name__, first_line)
                    log.debug("%s", "".join(traceback.format_exception(error)).rstrip())
            stop_everything(grace=0, drain_delay=0)
            if isinstance(error, RuntimeError):
                # The text says what is wrong; the traceback shows the line of the script, but none of this package.
                error.with_traceback(None)
            raise

    return start  # type: ignore[return-value]


def set_max_enqueued_requests(limit: int) -> None:
    global _max_enqueued_requests
    with _lock:
        _max_enqueued_requests = limit
        existing = existing_instance()
        if existing is not None:
            existing.core.set_max_enqueued_requests(limit)


def _after_fork() -> None:
    """A child of fork serves nothing. It lets go of the workers and the core, which stay with the parent. (What clients
    are connected to is closed in C++, before this.)"""
    global _lock, _instance
    _lock = threading.RLock()
    for each in [_instance, *_ending]:
        if each is None:
            continue
        os.close(each.core.arena_fd)
        if each.supervisor is not None:
            for fd in each.supervisor.child_fds():
                os.close(fd)
    _instance = None
    _ending.clear()
    machine.restore_descriptor_limit(os.getpid())
    atexit.unregister(stop_everything)
    signals.let_go()


forks.let_go_in_children(_after_fork)
