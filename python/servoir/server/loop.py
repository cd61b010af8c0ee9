"""The event loop of the supervisor's thread: readable descriptors, timers, and calls posted by other threads."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import queue
import selectors
import threading
import time
import traceback
from collections.abc import Callable
from typing import TypeAlias

from servoir import log

Call: TypeAlias = Callable[[], None]


class Loop:
    """run() belongs to one thread, and so does all but post(), which any thread and any signal handler may call."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._posted: queue.SimpleQueue[Call] = queue.SimpleQueue()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        # Nobody writes to the descriptor's number once it is closed. A signal handler may come in between: reentrant.
        self._wake_lock = threading.RLock()
        self._selector.register(self._wake, selectors.EVENT_READ, self._run_posted)
        self._timers: list[tuple[float, int, Call]] = []
        self._numbers = itertools.count()

    def post(self, call: Call) -> None:
        """`call` is run soon by the loop's thread; never if the loop has ended."""
        self._posted.put(call)
        with self._wake_lock:
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def watch(self, fd: int, call: Call) -> None:
        self._selector.register(fd, selectors.EVENT_READ, call)

    def unwatch(self, fd: int) -> None:
        """Does nothing for one that is not watched."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(fd)

    def after(self, seconds: float, call: Call) -> None:
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), call))

    def run(self, finished: Callable[[], bool]) -> None:
        """Until `finished()`. An exception of a call is logged, and the loop goes on."""
        try:
            while not finished():
                timeout = None
                if self._timers:
                    timeout = max(0.0, self._timers[0][0] - time.monotonic())
                for key, _ in self._selector.select(timeout):
                    # Earlier calls of this round may have ended the watch.
                    if self._selector.get_map().get(key.fd) is key:
                        _guarded(key.data)
                while self._timers and self._timers[0][0] <= time.monotonic():
                    _guarded(heapq.heappop(self._timers)[2])
        finally:
            self._timers.clear()  # calls hold on to what they are methods of
            self._selector.close()
            with self._wake_lock:
                os.close(self._wake)
                self._wake = -1

    def _run_posted(self) -> None:
        os.eventfd_read(self._wake)
        while True:
            try:
                call = self._posted.get_nowait()
            except queue.Empty:
                return
            _guarded(call)


def _guarded(call: Call) -> None:
    try:
        call()
    except Exception:
        log.error("the supervisor has met an error of its own:\n%s", traceback.format_exc())
