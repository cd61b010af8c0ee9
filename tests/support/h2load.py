"""h2load (Debian: nghttp2-client) on one request, sent again and again; and the request of W1 to W3 as bytes."""

from __future__ import annotations

import re
import statistics
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from servoir.client import codec

PREDICT = "/mindspore.serving.proto.MSService/Predict"


def predict_request(servable: str, method: str, instances: np.ndarray) -> bytes:
    """A PredictRequest with one instance a row of `instances`, as input x."""
    return codec.write_request(servable, method, 0, [{"x": x} for x in instances])


def grpc_frame(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


@dataclass
class LoadResult:
    requests: int  # answered with status 2xx
    failed: int
    seconds: float
    reply_bytes: float  # mean of the bodies
    latencies_us: list[int]

    @property
    def median_us(self) -> float:
        return statistics.median(self.latencies_us)


def h2load(
    url: str,
    body: bytes,
    *,
    connections: int,
    streams: int,
    seconds: float = 0,
    requests: int = 0,
    grpc: bool = True,
    core: int | None = None,
) -> LoadResult:
    """Runs h2load for a time, or for a number of requests."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        data, log = Path(folder, "body"), Path(folder, "log")
        data.write_bytes(grpc_frame(body) if grpc else body)
        # Windows of 1 GiB: the load generator's flow control must not be the limit.
        command = ["h2load", "-t1", f"-c{connections}", f"-m{streams}", "-w30", "-W30", "-d", str(data)]
        command += [f"--log-file={log}", f"-n{requests}" if requests else f"-D{seconds:g}"]
        if grpc:
            command += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        else:
            command += ["--h1", "-H", "content-type: application/json"]
        if core is not None:
            command = ["taskset", "-c", str(core), *command]
        done = subprocess.run([*command, url], capture_output=True, text=True, check=False)
        out = done.stdout + done.stderr
        counts = re.search(r"requests: .*?(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", out)
        traffic = re.search(r"traffic: .*?\((\d+)\) data", out)
        took = re.search(r"finished in ([\d.]+)(us|ms|s)", out)
        if done.returncode or not (counts and traffic and took):
            raise RuntimeError(f"h2load: {out}")
        latencies = [int(line.split()[2]) for line in log.read_text().splitlines() if line.split()[1] == "200"]
    good, failed, errored, late = (int(count) for count in counts.groups())
    return LoadResult(
        requests=good,
        failed=failed + errored + late,
        seconds=float(took.group(1)) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[took.group(2)],
        reply_bytes=int(traffic.group(1)) / max(1, good),
        latencies_us=latencies or [0],
    )
