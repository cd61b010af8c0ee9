"""Requests that come at random times, whatever becomes of those before: load as many independent clients make it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc


@dataclass
class Outcome:
    """Of the requests that were sent between `warm_up` and the end. Times in seconds."""

    seconds: float
    answered: list[float] = field(default_factory=list)  # right, within their deadline: how long each took
    refused: list[float] = field(default_factory=list)  # by an error in the reply: how long it took
    expired: int = 0  # by the deadline
    wrong: list[str] = field(default_factory=list)
    late_sent: float = 0.0  # by how much the most belated request was sent after its time

    @property
    def goodput(self) -> float:
        """Answers a second."""
        return len(self.answered) / self.seconds

    def percentile(self, share: float) -> float:
        """Of the times of what was answered."""
        times = sorted(self.answered)
        return times[min(int(share * len(times)), len(times) - 1)] if times else float("nan")


def open_loop(
    call: Callable[..., Any], request: Any, rate: float, deadline: float, warm_up: float, seconds: float, seed: int = 1
) -> Outcome:
    """Sends `request` by the stub's method `call`, `rate` times a second on the average, each with this deadline."""
    gaps = random.Random(seed)
    outcome = Outcome(seconds)
    calls: list[tuple[float, Any, list[float]]] = []
    begin = time.perf_counter()
    due = begin
    while due < begin + warm_up + seconds:
        now = time.perf_counter()
        if due > now:
            time.sleep(due - now)
        elif due >= begin + warm_up:
            outcome.late_sent = max(outcome.late_sent, now - due)
        sent = time.perf_counter()
        future = call.future(request, timeout=deadline)  # type: ignore[attr-defined]
        done: list[float] = []
        future.add_done_callback(lambda _, done=done: done.append(time.perf_counter()))
        if due >= begin + warm_up:
            calls.append((sent, future, done))
        due += gaps.expovariate(rate)
    for sent, future, done in calls:
        error = future.exception()
        while not done:  # the callback comes a moment after the result
            time.sleep(0.001)
        took = done[0] - sent
        if isinstance(error, grpc.RpcError) and future.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            outcome.expired += 1
        elif error is not None:
            outcome.wrong.append(str(error))
        elif any(message.error_code for message in future.result().error_msg):
            outcome.refused.append(took)
        else:
            outcome.answered.append(took)
    return outcome
