"""The steps between the states of a version."""

from __future__ import annotations

import itertools

import pytest
from servoir.server.fleet.states import VersionState, WorkerState, may_follow

S = VersionState


@pytest.mark.parametrize(
    "life",
    [
        [S.STARTING, S.LOADING, S.WARMING, S.AVAILABLE, S.DRAINING, S.ENDED],
        [S.STARTING, S.LOADING, S.AVAILABLE, S.FAILED, S.AVAILABLE, S.DRAINING, S.ENDED],
        [S.STARTING, S.FAILED, S.DRAINING, S.ENDED],
        [S.STARTING, S.LOADING, S.FAILED],
        [S.STARTING, S.LOADING, S.WARMING, S.FAILED],
        [S.STARTING, S.DRAINING, S.ENDED],
    ],
)
def test_lives(life: list[VersionState]) -> None:
    assert all(may_follow(state, following) for state, following in itertools.pairwise(life))


def test_the_end_is_reached_from_everywhere_and_left_by_nothing() -> None:
    for state in S:
        assert not may_follow(state, state)
        assert not may_follow(S.ENDED, state)
        assert not may_follow(state, S.STARTING)
        assert may_follow(state, S.ENDED) == (state is S.DRAINING)
        assert may_follow(state, S.DRAINING) == (state not in (S.DRAINING, S.ENDED))


def test_nothing_is_available_that_has_not_loaded() -> None:
    assert [state for state in S if may_follow(state, S.AVAILABLE)] == [S.LOADING, S.WARMING, S.FAILED]


def test_workers_that_may_hold_requests() -> None:
    assert [state.value for state in WorkerState if state.serves] == ["ready", "leaving", "exiting"]
