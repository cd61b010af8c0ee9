"""How a server lets its clients go before it ends: a step at a time, so that a second signal can cut it short."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from servoir import log

if TYPE_CHECKING:
    from servoir._core import Server

# Seconds for requests that were on their way when the server began to end, and for clients that were connecting.
SETTLE = 0.25
_LOOK = 0.005


def drain(core: Server, delay: float, grace: float, is_hurried: Callable[[], bool]) -> None:
    """Returns when nobody waits for an answer any more, or the time is over, or `is_hurried()`. The core is to be
    stopped then. The thread sleeps for moments only, so that a signal handler can run in between.

    Args:
        delay: seconds in which the server serves on, while health says that it is not ready.
        grace: seconds after that, in which requests come to their end.
    """
    core.announce_end()
    _wait(time.monotonic() + delay, is_hurried)
    core.drain()
    deadline = time.monotonic() + grace
    _wait(deadline, lambda: is_hurried() or not core.busy_connections())
    core.close_doors()
    _wait(min(deadline, time.monotonic() + SETTLE), lambda: is_hurried() or not core.open_connections())
    _wait(deadline, lambda: is_hurried() or not core.busy_connections())
    busy = core.busy_connections()
    if busy and not is_hurried():
        log.warning("%d connections still wait for answers after %g s; their requests are refused", busy, grace)


def _wait(deadline: float, is_over: Callable[[], bool]) -> None:
    while not is_over() and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(left, _LOOK))
