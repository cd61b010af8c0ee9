"""Limits of the server process."""

from __future__ import annotations

from servoir import check
from servoir.server import process


def set_max_enqueued_requests(max_enqueued_requests: int) -> None:
    """How many requests may be accepted and not yet answered (default 10 000); the next one is refused at once.

    An int >= 1; may be called at any time."""
    process.set_max_enqueued_requests(check.integer("max_enqueued_requests", max_enqueued_requests, 1))
