"""Limits of the server process."""

from __future__ import annotations

from servoir import check
from servoir.server import instance

MOST_REQUESTS = 1_000_000_000


def set_max_enqueued_requests(max_enqueued_requests: int) -> None:
    """Sets how many requests may be accepted and not yet answered. The next one is refused at once.

    It counts requests of both servers, not instances; calls of models that a stage makes do not count. It may be called
    at any time.

    Args:
        max_enqueued_requests: an int in 1…1 000 000 000; 10 000 as long as nothing was set.

    Raises:
        RuntimeError: it is not such an int.
    """
    instance.set_max_enqueued_requests(
        check.integer("max_enqueued_requests", max_enqueued_requests, 1, ceiling=MOST_REQUESTS)
    )
