"""When a crashed worker is started again: a pure function of its past crashes."""

from __future__ import annotations

from dataclasses import dataclass, field

FIRST_DELAY = 0.1  # seconds
LONGEST_DELAY = 30.0
WITHOUT_DESCRIPTORS = 0.5  # after which a start is tried again that lacked descriptors
WINDOW = 60.0
CRASHES_IN_WINDOW = 5


@dataclass
class CrashHistory:
    """When a worker has crashed since its servable last answered without an error: monotonic times, in seconds."""

    times: list[float] = field(default_factory=list)

    def add(self, now: float, answered: bool, by_request: bool = False) -> None:
        """`answered`: since the last crash the servable has answered something without an error. `by_request`: the
        worker died of a request, which says nothing about the worker."""
        if answered:
            self.times.clear()
        if not by_request:
            self.times.append(now)


def keeps_crashing(history: CrashHistory) -> bool:
    last = history.times[-CRASHES_IN_WINDOW:]
    return len(last) == CRASHES_IN_WINDOW and last[-1] - last[0] <= WINDOW


def restart_delay(history: CrashHistory) -> float:
    """How many seconds after the last crash the worker is started again: few at first, twice as many each time."""
    exponent = min(max(len(history.times) - 1, 0), 20)
    if keeps_crashing(history):
        return LONGEST_DELAY
    return float(min(LONGEST_DELAY, FIRST_DELAY * 2**exponent))
