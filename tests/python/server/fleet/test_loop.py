"""The supervisor's event loop."""

from __future__ import annotations

import os
import threading
import time

import pytest
from servoir.server.fleet.loop import Loop


def test_posted_calls_timers_and_descriptors() -> None:
    loop = Loop()
    seen: list[str] = []
    readable, writable = os.pipe()
    loop.watch(readable, lambda: seen.append(os.read(readable, 1).decode()))
    loop.after(0.02, lambda: seen.append("late"))
    loop.after(0.01, lambda: seen.append("soon"))
    loop.post(lambda: seen.append("posted"))
    threading.Thread(target=lambda: loop.post(lambda: os.write(writable, b"p"))).start()
    loop.run(lambda: len(seen) == 4)
    assert sorted(seen) == ["late", "p", "posted", "soon"]
    assert seen.index("soon") < seen.index("late")
    os.close(readable)
    os.close(writable)


def test_an_error_of_a_call_does_not_end_the_loop(capfd: pytest.CaptureFixture[str]) -> None:
    loop = Loop()
    seen: list[int] = []
    loop.post(lambda: seen.append(1 // 0))
    loop.post(lambda: seen.append(1))
    loop.run(lambda: bool(seen))
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_a_watch_may_be_ended_by_the_call_before() -> None:
    loop = Loop()
    pipes = [os.pipe() for _ in range(2)]
    seen: list[int] = []

    def end_both(number: int) -> None:
        seen.append(number)
        for readable, _ in pipes:
            loop.unwatch(readable)

    for number, (readable, writable) in enumerate(pipes):
        os.write(writable, b"x")
        loop.watch(readable, lambda number=number: end_both(number))  # type: ignore[misc]
    loop.after(0.01, lambda: seen.append(-1))
    loop.run(lambda: -1 in seen)
    assert len(seen) == 2
    for pipe in pipes:
        for fd in pipe:
            os.close(fd)


def test_posting_to_a_loop_that_has_ended_does_nothing() -> None:
    loop = Loop()
    loop.run(lambda: True)
    loop.post(lambda: pytest.fail("never run"))
    loop.unwatch(10_000)


def test_an_idle_loop_sleeps() -> None:
    loop = Loop()
    ended: list[bool] = []
    loop.after(0.2, lambda: ended.append(True))
    before = time.process_time()
    loop.run(lambda: bool(ended))
    assert time.process_time() - before < 0.1
