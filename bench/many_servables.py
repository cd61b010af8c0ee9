"""Many servables of one tiny model, each with a worker of its own: start, memory, and requests among them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc
import numpy as np
from process_tree import Sample, pss_mb
from served import serving
from support.h2load import PREDICT, predict_request
from support.servers import ServerProcess

if TYPE_CHECKING:
    from run import Bench

READY_SECONDS = 1800.0


def measure_servables(bench: Bench) -> None:
    count: int = bench.args.servables
    x = np.arange(16, dtype=np.float32)[None] / 8
    with many_served(bench, count) as (served, names):
        bench.add(f"start to ready, {count} servables", served.ready_seconds, "s")
        for name in (names[0], names[-1]):
            bench.check(served, name, x, x + 1)
        bench.add(f"memory of {count} servables, each", pss_mb(served.pid) / count, "MB (PSS)")
        sample = Sample(served.pid)
        time.sleep(bench.seconds)
        sample.stop()
        bench.add(f"CPU of {count} idle servables", 100 * sample.cpu / sample.wall, "% of a core")
        for what, asked in (("the same", names[:1]), (f"each of {count} in turn", names)):
            took = one_in_flight(served, asked, x, bench.seconds)
            add_times(bench, f"one request in flight, {what}", took, f"{len(took)} requests, by grpcio")
        busy, _ = bench.load(served, names[count // 2], x, 8, 8)
        rate = f"{busy.requests / busy.seconds:,.0f} requests/s; the load shares the cores"
        add_times(bench, f"64 in flight, one of {count}", [us / 1e3 for us in busy.latencies_us], rate)


@contextmanager
def many_served(bench: Bench, count: int) -> Iterator[tuple[ServerProcess, list[str]]]:
    import make_models

    folder = bench.args.work / "many"
    names = make_models.make_many(folder, count)
    with serving(folder, names, seconds=READY_SECONDS) as served:
        yield served, names


def add_times(bench: Bench, name: str, took: list[float], note: str) -> None:
    p50, p99 = (float(np.percentile(took, part)) for part in (50, 99))
    bench.add(name, p99, "ms, 99th percentile", note=f"median {p50:.3g} ms, {note}")


def one_in_flight(served: ServerProcess, names: list[str], x: np.ndarray, seconds: float) -> list[float]:
    """Milliseconds of each request, to these servables in turn. A first round does not count."""
    requests = [predict_request(name, "predict", x) for name in names]
    took: list[float] = []
    with grpc.insecure_channel(served.grpc) as channel:
        predict = channel.unary_unary(PREDICT)
        sizes = [len(predict(request)) for request in requests]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for name, request, size in zip(names, requests, sizes, strict=True):
                begun = time.perf_counter()
                reply = predict(request)
                took.append(1e3 * (time.perf_counter() - begun))
                if len(reply) != size:
                    raise RuntimeError(f"{name}: a reply of {len(reply)} bytes, {size} at first")
    return took
