"""Children of fork, in which the handlers of SIGINT and SIGTERM that this package has installed have to go.

A signal that comes to the child before that would be handled as in the parent, or be lost: Python forgets signals that
come while it forks. So they are held back until the handlers are gone.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


def let_go_in_children(let_go: Callable[[], None]) -> None:
    """From now on `let_go` is called in each child, before the child gets SIGINT or SIGTERM."""
    masks: dict[int, set[int]] = {}  # of the threads that fork

    def before() -> None:
        masks[threading.get_ident()] = set(signal.pthread_sigmask(signal.SIG_BLOCK, _NUMBERS))

    def after() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.pop(threading.get_ident()))

    def after_in_child() -> None:
        try:
            let_go()
        finally:
            after()
            masks.clear()

    os.register_at_fork(before=before, after_in_parent=after, after_in_child=after_in_child)
