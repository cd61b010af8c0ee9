"""When a crashed worker is started again: the policy as a table."""

from __future__ import annotations

import pytest
from servoir.server.fleet.restart import CrashHistory, keeps_crashing, restart_delay


@pytest.mark.parametrize(
    ("times", "delay", "keeps"),
    [
        ([0], 0.1, False),
        ([0, 1], 0.2, False),
        ([0, 1, 2], 0.4, False),
        ([0, 1, 2, 3], 0.8, False),
        ([0, 1, 2, 3, 4], 30.0, True),  # five within a minute
        ([0, 15, 30, 45, 60], 30.0, True),
        ([0, 15, 30, 45, 61], 1.6, False),
        ([0, 100, 101, 102, 103], 1.6, False),
        ([0, 100, 101, 102, 103, 104], 30.0, True),
        ([200 * i for i in range(9)], 25.6, False),
        ([200 * i for i in range(10)], 30.0, False),
        ([200 * i for i in range(2000)], 30.0, False),
    ],
)
def test_delay(times: list[float], delay: float, keeps: bool) -> None:
    history = CrashHistory()
    for time in times:
        history.add(time, answered=False)
    assert restart_delay(history) == pytest.approx(delay)
    assert keeps_crashing(history) == keeps


def test_an_answer_makes_up_for_the_crashes_before() -> None:
    history = CrashHistory()
    for time in range(20):
        history.add(time, answered=True)
        assert restart_delay(history) == pytest.approx(0.1)
        assert not keeps_crashing(history)


def test_deaths_by_requests_are_no_crashes() -> None:
    history = CrashHistory()
    for time in range(20):
        history.add(time, answered=False, by_request=True)
        assert restart_delay(history) == pytest.approx(0.1)
    assert history.times == []
    for time in range(20, 24):
        history.add(time, answered=False)
    history.add(24, answered=False, by_request=True)
    assert not keeps_crashing(history)
    history.add(25, answered=True, by_request=True)
    assert history.times == []
