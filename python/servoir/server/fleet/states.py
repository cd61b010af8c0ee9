"""The states that a version and its workers go through, and which state may follow which.

Everything that shows states or decides by them uses these names. Any thread may use them.
"""

from __future__ import annotations

import enum


class VersionState(enum.Enum):
    """The state of a version of a servable, in the order of its life."""

    STARTING = "starting"  # its workers' processes have been, or are about to be, started
    LOADING = "loading"  # a worker reads the configuration and opens the models
    WARMING = "warming"  # a worker runs a model with made-up values, before any request does
    AVAILABLE = "available"  # requests are given to it
    DRAINING = "draining"  # it gets no new requests, and its workers finish what they hold
    ENDED = "ended"  # it was ended on purpose, and no worker is left
    FAILED = "failed"  # for a reason that is kept; its workers may be started again


_NEXT: dict[VersionState, frozenset[VersionState]] = {
    VersionState.STARTING: frozenset({VersionState.LOADING, VersionState.DRAINING, VersionState.FAILED}),
    VersionState.LOADING: frozenset(
        {VersionState.WARMING, VersionState.AVAILABLE, VersionState.DRAINING, VersionState.FAILED}
    ),
    VersionState.WARMING: frozenset({VersionState.AVAILABLE, VersionState.DRAINING, VersionState.FAILED}),
    VersionState.AVAILABLE: frozenset({VersionState.DRAINING, VersionState.FAILED}),
    VersionState.DRAINING: frozenset({VersionState.ENDED}),
    VersionState.ENDED: frozenset(),
    VersionState.FAILED: frozenset({VersionState.AVAILABLE, VersionState.DRAINING}),
}


def may_follow(state: VersionState, following: VersionState) -> bool:
    """Whether a version in `state` may enter `following` next."""
    return following in _NEXT[state]


class WorkerState(enum.Enum):
    """The state of a worker's slot, whose process may be replaced by another."""

    WAITING = "waiting"  # it has no process; the next is started at a set time
    STARTING = "starting"  # its process has been started and has not said hello
    LOADING = "loading"  # its process was told what to load
    READY = "ready"
    LEAVING = "leaving"  # it gets no new work, and is told to exit when it holds none
    EXITING = "exiting"  # it was told to exit
    GONE = "gone"  # it has no process, and gets none

    @property
    def serves(self) -> bool:
        """Whether its process may hold requests."""
        return self in (WorkerState.READY, WorkerState.LEAVING, WorkerState.EXITING)
