"""Requests as bytes, and h2load that sends them."""

from __future__ import annotations

import re
import statistics
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PREDICT = "/mindspore.serving.proto.MSService/Predict"
FLOAT32 = 11


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def predict_request(servable: str, method: str, instances: np.ndarray) -> bytes:
    """A PredictRequest with one instance a row of `instances`, as input x."""
    message = _field(1, _field(1, servable.encode()) + _field(2, method.encode()))
    for x in instances:
        shape = _field(1, b"".join(_varint(side) for side in x.shape))
        tensor = _field(1, shape) + _varint(2 << 3) + _varint(FLOAT32) + _field(3, x.astype(np.float32).tobytes())
        message += _field(2, _field(1, _field(1, b"x") + _field(2, tensor)))
    return message


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


def iperf3_mb_per_second(seconds: float, port: int) -> float | None:
    """What iperf3 moves over loopback with one stream; None where there is no iperf3."""
    try:
        server = subprocess.Popen(
            ["iperf3", "-s", "-1", "-p", str(port), "-B", "127.0.0.1", "--forceflush"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    except FileNotFoundError:
        return None
    try:
        assert server.stdout is not None
        for line in server.stdout:
            if "Server listening" in line:
                break
        client = subprocess.run(
            ["iperf3", "-c", "127.0.0.1", "-p", str(port), "-t", f"{seconds:.0f}", "-f", "m"],
            capture_output=True,
            text=True,
            check=False,
        )
        found = re.search(r"([\d.]+) Mbits/sec.*receiver", client.stdout)
        return float(found.group(1)) / 8 if found else None
    finally:
        server.kill()
        server.wait()
