"""SIGINT and SIGTERM: end workers and servers, then the process, without the user's script having to know.

Handlers are installed by the start functions, only where Python's own or none are in place and only in the main thread;
stop() takes them away again.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any


@dataclass(frozen=True)
class Callbacks:
    """What a signal is to do; all are called in the main thread."""

    has_something_to_end: Callable[[], bool]
    stop: Callable[[], None]
    hurry: Callable[[], None]  # for a second signal during stop()


_previous: dict[int, Any] = {}
_depth = 0
_callbacks: Callbacks | None = None


def install(callbacks: Callbacks) -> None:
    global _callbacks
    _callbacks = callbacks
    if threading.current_thread() is not threading.main_thread():
        return
    for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        current = signal.getsignal(number)
        if current is default:
            _previous[number] = current
            signal.signal(number, _handle)


def restore() -> None:
    """Puts back the handlers that were there before. Does nothing outside the main thread, which alone may do that."""
    if threading.current_thread() is not threading.main_thread() or _depth:
        return
    for number, handler in list(_previous.items()):
        if signal.getsignal(number) is _handle:
            signal.signal(number, handler)
        del _previous[number]


def let_go() -> None:
    """In a child of fork, which may have been made while a signal was handled."""
    global _depth
    _depth = 0
    restore()


def _script_has_ended(frame: FrameType | None) -> bool:
    """Whether the interpreter is waiting for its threads after the end of the script."""
    while frame is not None:
        if frame.f_code.co_name == "_shutdown" and frame.f_globals.get("__name__") == "threading":
            return True
        frame = frame.f_back
    return False


def _handle(number: int, frame: FrameType | None) -> None:
    global _depth
    callbacks = _callbacks
    if callbacks is None or not callbacks.has_something_to_end():
        # There is nothing to end, or not any more: the signal does what it does without a handler.
        restore()
        os.kill(os.getpid(), number)
        return
    if _depth:
        callbacks.hurry()  # the second signal: neither requests nor workers are waited for
        return
    _depth += 1
    try:
        callbacks.stop()
    finally:
        _depth -= 1
    restore()
    if _script_has_ended(frame):
        return  # the process now ends by itself
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(0)
