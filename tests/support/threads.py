"""A function in several threads at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any


def in_threads(function: Callable[..., None], arguments: Iterable[tuple[Any, ...]]) -> None:
    """Calls the function with each tuple of arguments, in a thread each; returns when all of them have returned."""
    threads = [threading.Thread(target=function, args=given) for given in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
