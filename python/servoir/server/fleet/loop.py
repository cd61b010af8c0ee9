"""The event loop of the supervisor's thread: readable descriptors, timers, and calls that other threads post."""

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
    """Any thread and any signal handler may call post(). Everything else belongs to the thread that calls run()."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._posted: queue.SimpleQueue[Call] = queue.SimpleQueue()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        # Held while the descriptor is written, so that its number is not used after it was closed. Reentrant, because a
        # signal handler may interrupt the thread that holds it.
        self._wake_lock = threading.RLock()
        self._selector.register(self._wake, selectors.EVENT_READ, self._run_posted)
        self._timers: list[tuple[float, int, Call]] = []
        self._numbers = itertools.count()

    def post(self, call: Call) -> None:
        """The loop's thread makes the call soon. If the loop has ended it is never made."""
        self._posted.put(call)
        with self._wake_lock:
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def watch(self, fd: int, call: Call) -> None:
        self._selector.register(fd, selectors.EVENT_READ, call)

    def unwatch(self, fd: int) -> None:
        """Does nothing if the descriptor is not watched."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(fd)

    def after(self, seconds: float, call: Call) -> None:
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), call))

    def run(self, finished: Callable[[], bool]) -> None:
        """Runs until `finished()` is true, and then closes the loop. If a call raises, the exception is logged, and the
        loop goes on."""
        try:
            while not finished():
                self.turn()
        finally:
            self.close()

    def turn(self, seconds: float | None = None) -> None:
        """Waits for the next event, but not longer than `seconds`, and makes the calls that are due."""
        if self._timers:
            until_timer = max(0.0, self._timers[0][0] - time.monotonic())
            seconds = until_timer if seconds is None else min(seconds, until_timer)
        for key, _ in self._selector.select(seconds):
            # An earlier call of this round may have ended the watch.
            if self._selector.get_map().get(key.fd) is key:
                _guarded(key.data)
        while self._timers and self._timers[0][0] <= time.monotonic():
            _guarded(heapq.heappop(self._timers)[2])

    def close(self) -> None:
        """From now on no call is made."""
        self._timers.clear()  # a method keeps its object alive
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
