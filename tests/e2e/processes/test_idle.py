"""A worker with nothing to do: it sleeps, takes little of the server, and still hears signals."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from support.processes import wait_until
from support.scripts import PLAIN, RunScript
from support.servers import Start

SLEEP = 2.0  # seconds


def sleeps(pid: int) -> int:
    """How often its threads have gone to sleep by now, which is how often they have been woken."""
    counts = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        counts += int(fields["voluntary_ctxt_switches"])
    return counts


def test_nothing_wakes_an_idle_worker(start: Start) -> None:
    server = start("plain", num_parallel_workers=2)
    pids = server.workers()
    wait_until(lambda: sum(map(sleeps, pids)) > 0, 5, "workers that sleep")

    def woken() -> int:
        before = sum(map(sleeps, pids))
        time.sleep(SLEEP)
        return sum(map(sleeps, pids)) - before

    # What they still had to do at the start comes to an end.
    wait_until(lambda: woken() <= 1, 30, "workers that sleep on")


HANDLER = """
import signal
signal.signal(signal.SIGUSR1, lambda number, frame: open("heard", "w").close())
"""

SERVE = """
    server.start_servables(config())
    server.start_grpc_server(GRPC)
    server.start_restful_server(REST)
"""


def test_an_idle_worker_runs_the_handler_of_a_signal(run: RunScript) -> None:
    server = run(SERVE, servables={"s": HANDLER + PLAIN})
    server.ready()
    (worker,) = server.workers()
    heard = Path(os.readlink(f"/proc/{worker}/cwd")) / "heard"
    for _ in range(3):
        os.kill(worker, signal.SIGUSR1)
        wait_until(heard.exists, 10, "the handler's file")
        heard.unlink()


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_a_worker_with_functions_takes_three_descriptors_of_the_server(start: Start) -> None:
    """The control socket, what tells of its end, and the wake-up for its results."""
    one, three = (start("plain", num_parallel_workers=count) for count in (1, 3))
    assert (len(one.workers()), len(three.workers())) == (1, 3)
    more = descriptors(three.process.pid) - descriptors(one.process.pid)
    assert more == 2 * 3, more
