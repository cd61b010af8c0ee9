"""For every backend that is here: what is loaded, run by several lanes at a time, cancelled, and released."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from servoir import figures
from servoir.backends import CPU, open_class
from servoir.client import Client
from support.in_process import InProcess
from support.kinds import PRESENT, Kind, ones
from support.processes import wait_until
from support.threads import in_threads

each_kind = pytest.mark.parametrize("kind", PRESENT, ids=str)


def resident_mib() -> float:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / (1 << 20)


@each_kind
def test_a_hundred_loads_leave_nothing_behind(kind: Kind, tmp_path: Path) -> None:
    made = kind.make(tmp_path, "several")

    def load(count: int) -> None:
        for _ in range(count):
            subgraph = kind.open(made)
            y, _, _ = subgraph.execute_copied([ones(2, 2), np.ones((2, 3), np.int32)])
            assert y.tolist() == [[2, 2], [2, 2]]

    load(20)  # what is kept once
    before = resident_mib()
    load(100)
    grown = resident_mib() - before
    assert grown < 6, f"{grown:.1f} MiB more after 100 loads"


@each_kind
def test_two_models_at_once(kind: Kind, in_process: InProcess, tmp_path: Path) -> None:
    """In one lane, by turns."""
    for what in ("one", "two"):
        (tmp_path / what).mkdir()
    in_process.model("add", kind.model(tmp_path / "one", "add"), max_batch=4)
    in_process.model("several", kind.model(tmp_path / "two", "several"), max_batch=4)
    in_process.start()
    added = [(np.full(2, n, np.float32), np.ones(2, np.float32)) for n in range(6)]
    several = [(np.array([n, 2], np.float32), np.array([n, 1, -n], np.int32)) for n in range(6)]
    for _ in range(5):
        assert [one[0].tolist() for one in in_process.infer("add", added)] == [[n + 1, n + 1] for n in range(6)]
        assert [one[2].tolist() for one in in_process.infer("several", several)] == [n + 2 for n in range(6)]


@each_kind
def test_two_models_in_two_lanes(kind: Kind, tmp_path: Path) -> None:
    """Two workers' lanes in this process, each with a thread and a model of its own, busy at the same time."""
    with contextlib.ExitStack() as stack:
        lanes = []
        for number in (1, 2):
            directory = tmp_path / str(number)
            directory.mkdir()
            lane = InProcess(directory)
            stack.callback(lane.stop)
            lane.model("add", kind.model(directory, "add", dims=("batch", 1000)), max_batch=4)
            lane.start()
            lanes.append(lane)
        wrong: list[str] = []
        start = threading.Barrier(2)

        def ask(lane: InProcess, number: int) -> None:
            start.wait()
            for turn in range(30):
                value = np.full(1000, number + turn, np.float32)
                wrong.extend(
                    f"lane {number}, turn {turn}: {answer}"
                    for answer in lane.infer("add", [(value, value)] * 8)
                    if isinstance(answer, str) or not np.array_equal(answer[0], 2 * value)
                )

        in_threads(ask, ((lane, number) for number, lane in enumerate(lanes)))
        assert not wrong


# ---- cancellation


class Gate:
    """A model that runs until the test lets it end."""

    inputs = [{"name": "x", "dtype": "float32", "shape": [-1, 1]}]
    outputs = [{"name": "y", "dtype": "float32", "shape": [-1, 1]}]
    entered = threading.Event()
    opened = threading.Event()

    def execute(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        self.entered.set()
        assert self.opened.wait(30)
        return [inputs[0]]


@pytest.fixture
def gate() -> Iterator[type[Gate]]:
    Gate.entered.clear()
    Gate.opened.clear()
    yield Gate
    Gate.opened.set()


@each_kind
def test_what_is_cancelled_between_batches_is_not_run(
    kind: Kind, gate: type[Gate], in_process: InProcess, tmp_path: Path
) -> None:
    in_process.model("gate", open_class(gate, [], 1, CPU, {}).subgraphs[0], max_batch=1)
    in_process.model("add", kind.model(tmp_path, "add"), max_batch=2)
    in_process.start()

    def counts(callee: str) -> dict[str, float]:
        now = in_process.server.stats()
        return {
            "queued": figures.total(now, "servoir_callee_queued_instances", callee=callee),
            "instances": figures.total(now, "servoir_callee_instances", callee=callee),
        }

    one = {"x0": ones(2), "x1": ones(2)}
    with Client(in_process.address, "test", "gate") as gates, Client(in_process.address, "test", "add") as adds:
        held = gates.infer_async({"x0": ones(1)})
        assert gate.entered.wait(20)
        cancelled = adds.infer_async([one] * 20)
        # One batch may be with the lane already, after the batch that it runs.
        wait_until(lambda: counts("add")["queued"] >= 18, 20, "requests that wait")
        # With room for two requests a third is refused until the server knows that the first is cancelled.
        in_process.server.set_max_enqueued_requests(2)
        assert "too many requests" in adds.infer([one] * 3)["error"]
        assert cancelled.cancel()
        refused = True
        while refused:
            before = counts("add")["queued"]
            kept = adds.infer_async([one] * 3)
            wait_until(
                lambda kept=kept, before=before: kept.done() or counts("add")["queued"] > before,  # type: ignore[misc]
                20,
                "the word of the server on the third request",
            )
            refused = kept.done()
        gate.opened.set()
        assert [answer["y0"].tolist() for answer in kept.result()] == [[2, 2]] * 3
        assert [answer["y0"].tolist() for answer in held.result()] == [[1]]
        wait_until(lambda: counts("add")["queued"] == 0, 20, "an empty queue")
        assert 3 <= counts("add")["instances"] <= 3 + 2
