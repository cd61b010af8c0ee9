"""More comes than can be answered: as much is answered in time as ever, and the rest is refused at once."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from support.foreign_client import ForeignClient, whole_error
from support.open_loop import open_loop
from support.servers import Start

# A batch of 16 takes 72 ms, so 222 a second are the most.
SERVABLE = """
import time

from servoir.server import register


def work(instances):
    time.sleep(0.040 + 0.002 * len(instances))
    return [x for (x,) in instances]


@register.register_method(output_names=["y"])
def predict(x):
    return register.add_stage(work, x, outputs_count=1, batch_size=16)
"""
MOST = 16 / 0.072


def test_at_three_times_what_it_can_do_it_does_what_it_can(start: Start, stubs: Any, tmp_path: Path) -> None:
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "servable_config.py").write_text(SERVABLE)
    server = start("slow", directory=tmp_path, device_ids=0)
    with ForeignClient(stubs, server.grpc) as client:
        request = client.request("slow", "predict", [{"x": "text"}])
        load = open_loop(client.stub.Predict, request, rate=3 * MOST, deadline=0.5, warm_up=2, seconds=6)
        assert not load.wrong
        # (A test must not depend on how fast a machine is; the benchmark says how much it is where nothing else runs.)
        assert load.goodput > 0.75 * MOST, load
        assert len(load.refused) > load.expired, "what cannot be answered in time is refused, rather than kept"
        assert statistics.median(load.refused) < 0.05
        # It is over at once when the load is.
        assert client.call("slow", "predict", {"x": "text"}, timeout=0.5) == [{"y": "text"}]


def test_what_would_wait_too_long_is_told_how_long(start: Start, stubs: Any, tmp_path: Path) -> None:
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "servable_config.py").write_text(SERVABLE)
    server = start("slow", directory=tmp_path, device_ids=0)
    with ForeignClient(stubs, server.grpc) as client:
        for _ in range(3):
            client.call("slow", "predict", {"x": "text"})
        waiting = client.request("slow", "predict", [{"x": "text"}] * 160)
        held = client.stub.Predict.future(waiting)
        error = ""
        while not held.done() and not error:
            reply = client.reply("slow", "predict", [{"x": "text"}], timeout=0.2)
            error = whole_error(reply) if reply.error_msg else ""
        assert "servable 'slow', method 'predict' would answer in about" in error
        assert "the request's deadline is in" in error
        assert len(held.result().instances) == 160
