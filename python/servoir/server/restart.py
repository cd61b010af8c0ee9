"""When a worker that crashed is started again: a pure function of its past."""

from __future__ import annotations

from dataclasses import dataclass, field

FIRST_DELAY = 0.1  # seconds
LONGEST_DELAY = 30.0
WINDOW = 60.0
CRASHES_IN_WINDOW = 5


@dataclass
class CrashHistory:
    """Times (monotonic, seconds) of a worker's crashes since the servable last answered something without an error."""

    times: list[float] = field(default_factory=list)

    def add(self, now: float, answered: bool) -> None:
        """`answered`: the servable has answered something without an error since the last crash."""
        if answered:
            self.times.clear()
        self.times.append(now)


def keeps_crashing(history: CrashHistory) -> bool:
    last = history.times[-CRASHES_IN_WINDOW:]
    return len(last) == CRASHES_IN_WINDOW and last[-1] - last[0] <= WINDOW


def restart_delay(history: CrashHistory) -> float:
    """Seconds from the last crash to the next start: soon at first, then doubled each time."""
    exponent = min(len(history.times) - 1, 20)
    if keeps_crashing(history):
        return LONGEST_DELAY
    return float(min(LONGEST_DELAY, FIRST_DELAY * 2**exponent))
