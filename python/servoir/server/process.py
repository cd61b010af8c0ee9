"""What this process serves: one core with its listeners, one supervisor with its workers; made when first needed.

All start functions go through here, so that a failure of any of them stops everything, as the contract wants it.
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

from servoir import log
from servoir.server import limits, signals

if TYPE_CHECKING:
    from servoir._core import Server
    from servoir.server.plan import ServablePlan
    from servoir.server.supervisor import Supervisor
    from servoir.server.tls import PemFile

F = TypeVar("F", bound=Callable[..., Any])

_lock = threading.RLock()
_running: Running | None = None
_max_enqueued_requests: int | None = None


class Running:
    """Between the first start function and stop()."""

    def __init__(self) -> None:
        from servoir import _core

        self.usable_cores = _core.usable_cores()
        arena_limit = limits.arena_limit()
        io_threads = limits.io_threads(self.usable_cores)
        limits.backend_threads(self.usable_cores, 1, 1)  # what is wrong with it is said before a worker asks
        log.info(
            "usable cores %g, arena limit %d MiB, I/O threads %d", self.usable_cores, arena_limit >> 20, io_threads
        )
        self.core: Server = _core.Server(arena_limit=arena_limit, io_threads=io_threads)
        if _max_enqueued_requests is not None:
            self.core.set_max_enqueued_requests(_max_enqueued_requests)
        self.listeners: dict[str, int] = {}
        self.supervisor: Supervisor | None = None
        self._starting = threading.Lock()
        self._ending = threading.RLock()  # a signal handler may come in between
        self._core_stopped = False

    def listen(self, address: str, protocol: str, max_message_bytes: int, tls: dict[str, PemFile | None] | None) -> str:
        """The address that is bound."""
        with _lock:
            if protocol in self.listeners:
                raise RuntimeError(f"the {_SERVER_NAMES[protocol]} server is already running in this process")
            listener = self.core.listen(address, protocol, max_message_bytes, tls)
            self.listeners[protocol] = listener
            return self.core.listener_address(listener)

    def start_servables(self, plans: list[ServablePlan]) -> None:
        from servoir.server.supervisor import Supervisor

        with self._starting:
            if self.supervisor is None:
                self.supervisor = Supervisor(self.core, self.usable_cores, self._nobody_left)
            self.supervisor.start(plans)

    def stop_core(self) -> None:
        """Ports are free when this returns."""
        with self._ending:
            if not self._core_stopped:
                self._core_stopped = True
                self.core.stop()

    def end(self) -> None:
        """Ports first, then the workers."""
        self.stop_core()
        supervisor = self.supervisor
        if supervisor is not None:
            supervisor.stop()
            self.supervisor = None  # it refers to this object, and both would wait for the garbage collector

    def _nobody_left(self) -> None:
        """In the supervisor's thread."""
        self.stop_core()
        self.supervisor = None
        _forget(self)


_SERVER_NAMES = {"grpc": "gRPC", "rest": "RESTful"}
_ended: list[Running] = []  # being taken down; a second stop() waits for them, too


def running() -> Running:
    """The one of this process; made where there is none."""
    global _running
    with _lock:
        if _running is None:
            _running = Running()
            atexit.unregister(stop)
            atexit.register(stop)
        return _running


def _forget(what: Running) -> None:
    global _running
    with _lock:
        if _running is what:
            _running = None


def is_running() -> bool:
    return _running is not None or bool(_ended)


def stop() -> None:
    """Ends the servers and all workers. May be called at any time; everything can be started again afterwards."""
    global _running
    with _lock:
        if _running is not None:
            _ended.append(_running)
            _running = None
        ending = list(_ended)
    for what in ending:
        what.end()
    with _lock:
        for what in ending:
            if what in _ended:
                _ended.remove(what)
    signals.restore()


def kill() -> None:
    """Ends the workers without waiting for what they run."""
    for what in [_running, *_ended]:
        if what is not None and what.supervisor is not None:
            what.supervisor.kill()


def stops_on_failure(function: F) -> F:
    """For start functions: whatever goes wrong, everything is stopped."""

    @functools.wraps(function)
    def start(*args: Any, **kwargs: Any) -> Any:
        signals.install()
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            if isinstance(error, Exception):
                # The exception has all of the text, and Python shows it below where the script does not catch it.
                first_line = str(error).partition("\n")[0]
                with contextlib.suppress(ValueError):  # the log's own settings may be what is wrong
                    log.error("%s failed, everything is stopped: %s", function.__name__, first_line)
                    log.debug("%s", "".join(traceback.format_exception(error)).rstrip())
            stop()
            if isinstance(error, RuntimeError):
                # It says what was wrong: the user sees where in the script, not the way through this package.
                error.with_traceback(None)
            raise

    return start  # type: ignore[return-value]


def set_max_enqueued_requests(limit: int) -> None:
    global _max_enqueued_requests
    with _lock:
        _max_enqueued_requests = limit
        if _running is not None:
            _running.core.set_max_enqueued_requests(limit)


def _after_fork() -> None:
    """A child of fork serves nothing: it lets go of workers and core, which stay the parent's."""
    global _lock, _running
    _lock = threading.RLock()
    for what in [_running, *_ended]:
        if what is not None and what.supervisor is not None:
            for fd in what.supervisor.child_fds():
                os.close(fd)
    _running = None
    _ended.clear()
    atexit.unregister(stop)
    signals.restore()


os.register_at_fork(after_in_child=_after_fork)
