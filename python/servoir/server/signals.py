"""SIGINT and SIGTERM: end workers and servers, then the process, without the user's script having to know.

Handlers are installed by the start functions, only where Python's own or none are in place and only in the main thread;
stop() takes them away again.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

_previous: dict[int, Any] = {}
_depth = 0


def install() -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        current = signal.getsignal(number)
        if current is default:
            _previous[number] = current
            signal.signal(number, _handle)


def restore() -> None:
    """What was in place before; nothing outside the main thread, where handlers cannot be changed."""
    if threading.current_thread() is not threading.main_thread() or _depth:
        return
    for number, handler in list(_previous.items()):
        if signal.getsignal(number) is _handle:
            signal.signal(number, handler)
        del _previous[number]


def _script_has_ended(frame: FrameType | None) -> bool:
    """Whether the interpreter is waiting for its threads after the end of the script."""
    while frame is not None:
        if frame.f_code.co_name == "_shutdown" and frame.f_globals.get("__name__") == "threading":
            return True
        frame = frame.f_back
    return False


def _handle(number: int, frame: FrameType | None) -> None:
    global _depth
    from servoir.server import process

    if not process.is_running():
        # Nothing of ours is there (any more): as if there were no handler.
        restore()
        os.kill(os.getpid(), number)
        return
    if _depth:
        process.kill()  # asked again: without waiting for the workers
        return
    _depth += 1
    try:
        process.stop()
    finally:
        _depth -= 1
    restore()
    if _script_has_ended(frame):
        return  # the process ends by itself now
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(0)
