"""The benchmark: what serving costs, each figure next to its target. README.md says what each one is.

python bench/run.py                        everything, about 4 minutes
python bench/run.py --quick                2 s a figure, one round
python bench/run.py --only w1,latency
python bench/run.py --only peers --peers triton,mosec --peer-scripts SCRIPTS --peer-venvs VENVS
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from bare_echo import BareEcho, bare_echo
from figures import Figure, table
from idle_connections import idle_connections, most_connections
from iperf3 import iperf3_mb_per_second
from many_servables import measure_servables
from peers import measure_peers
from process_tree import Sample, pss_mb
from served import free_port, serving
from support.h2load import PREDICT, LoadResult, h2load, predict_request
from support.processes import status_kib
from support.servers import ServerProcess

HERE = Path(__file__).resolve().parent


def calibration_ms() -> float:
    """CPU time of a fixed piece of work: how fast the machine is just now."""
    begun = time.process_time()
    hashlib.sha256(bytes(16 << 20)).digest()
    return (time.process_time() - begun) * 1e3


class Bench:
    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.seconds: float = 2 if args.quick else 5
        self.rounds: int = 1 if args.quick else 3
        self.models: Path = args.work / "servables"
        self.figures: list[Figure] = []
        cores = sorted(os.sched_getaffinity(0))
        # Throughput for a CPU second: the server on one core, the load on another, so that they do not share.
        self.server_core: int | None = cores[0] if len(cores) > 1 else None
        self.load_core: int | None = cores[1] if len(cores) > 1 else None

    def add(self, *args: Any, **kwargs: Any) -> None:
        figure = Figure(*args, **kwargs)
        self.figures.append(figure)
        print("  ".join(cell for cell in figure.row() if cell), flush=True)
        with (self.args.work / "figures.jsonl").open("a") as file:
            file.write(json.dumps({**asdict(figure), "calibration_ms": round(calibration_ms(), 1)}) + "\n")

    # -- load on one servable

    def check(
        self, served: ServerProcess, servable: str, x: np.ndarray, wanted: np.ndarray, method: str = "predict"
    ) -> None:
        """The answer's numbers, by the Python client."""
        from servoir.client import Client

        reply = Client(served.grpc, servable, method).infer([{"x": row} for row in x])
        if not isinstance(reply, list) or any("error" in answer for answer in reply):
            raise RuntimeError(f"{servable}: {reply}")
        got = np.array([answer["y"] for answer in reply])
        if not np.allclose(got, wanted, rtol=1e-3, atol=1e-3):
            raise RuntimeError(f"{servable}: {got} instead of {wanted}")

    def load(
        self, served: ServerProcess, servable: str, x: np.ndarray, connections: int, streams: int, **kwargs: Any
    ) -> tuple[LoadResult, Sample]:
        """h2load for the given seconds; every reply must have the size of the first."""
        url = f"http://{served.grpc}{PREDICT}"
        method = kwargs.pop("method", "predict")
        body = predict_request(servable, method, x)
        one = h2load(url, body, connections=1, streams=1, requests=1)
        seconds = kwargs.pop("seconds", self.seconds)
        sample = Sample(served.pid)
        result = h2load(url, body, connections=connections, streams=streams, seconds=seconds, **kwargs)
        sample.stop()
        if result.failed:
            raise RuntimeError(f"{servable}: {result.failed} of {result.requests} requests failed")
        if abs(result.reply_bytes - one.reply_bytes) > 0.02 * one.reply_bytes:
            raise RuntimeError(
                f"{servable}: {result.reply_bytes:.1f} bytes a reply, {one.reply_bytes:.1f} alone: some failed"
            )
        return result, sample

    def per_cpu_second(
        self,
        name: str,
        servable: str,
        x: np.ndarray,
        wanted: np.ndarray,
        target: float,
        shape: tuple[int, int] = (8, 8),
        echo: BareEcho | None = None,
    ) -> None:
        """Requests for a CPU second of the server's tree; median of the rounds. With `echo` also as a share of what it
        does with the same request, alternated."""
        found, rates, shares = [], [], []
        with serving(self.models, [servable], self.server_core) as served:
            self.check(served, servable, x, wanted)
            self.load(served, servable, x, *shape, seconds=1, core=self.load_core)
            for _ in range(self.rounds):
                result, sample = self.load(served, servable, x, *shape, core=self.load_core)
                found.append(result.requests / sample.cpu)
                rates.append(result.requests / result.seconds)
                if echo is not None:
                    body = predict_request(servable, "predict", x)
                    shares.append(found[-1] / echo.per_cpu_second(body, shape, self.seconds, self.load_core))
            self.check(served, servable, x, wanted)
        spread = f", {min(found):,.0f} … {max(found):,.0f}" if len(found) > 1 else ""
        note = f"{shape[0] * shape[1]} in flight, {statistics.median(rates):,.0f} requests/s{spread}"
        self.add(name, statistics.median(found), "requests per server CPU s", target, note=note)
        if shares:
            alone = f"a bare nghttp2 server answers {statistics.median(found) / statistics.median(shares):,.0f}"
            self.add(f"{name}, of the bare echo", statistics.median(shares), "times its requests", 0.5, note=alone)

    # -- the figures

    def w1(self) -> None:
        x = np.arange(16, dtype=np.float32)[None] / 8
        with bare_echo(self.args.work, self.server_core) as echo:
            self.per_cpu_second("W1, Python stage, gRPC", "w1", x, x + 1, 60_000, echo=echo)
            self.per_cpu_second("W1, native model", "w1_native", x, x + 1, 100_000, echo=echo)

    def w2(self) -> None:
        import make_models

        w1, w2 = (initializer_of(make_models.mlp(), name) for name in ("w0", "w1"))
        x = np.random.default_rng(1).random((1, 784), np.float32)
        wanted = np.maximum(x @ w1, 0) @ w2
        self.per_cpu_second("W2, OpenVINO", "w2_openvino", x, wanted, 60_000)
        self.per_cpu_second("W2, ONNX Runtime", "w2_onnxruntime", x, wanted, 60_000)

    def w3(self) -> None:
        x = np.random.default_rng(2).integers(0, 8, (4, 3, 224, 224)).astype(np.float32) / 8
        wanted = x.reshape(4, -1).sum(1)
        self.per_cpu_second("W3, 2.41 MB in, gRPC", "w3", x, wanted, 700, (2, 2))
        loopback = iperf3_mb_per_second(max(2, self.seconds), free_port())
        with serving(self.models, ["w3"]) as served:
            self.load(served, "w3", x, 2, 2, seconds=1)
            rates = []
            for _ in range(self.rounds):
                result, _ = self.load(served, "w3", x, 2, 2)
                rates.append(result.requests * x.nbytes / result.seconds / 1e6)
        note = "4 in flight, all cores" + (f"; iperf3 moves {loopback:,.0f} MB/s" if loopback else "; no iperf3 here")
        self.add("W3, throughput", statistics.median(rates), "MB/s", loopback / 2 if loopback else None, note=note)

    def latency(self) -> None:
        x = np.arange(16, dtype=np.float32)[None] / 8
        for name, servable, target in (("native model", "w1_native", 100), ("Python stage", "w1", 150)):
            with serving(self.models, [servable]) as served:
                self.check(served, servable, x, x + 1)
                self.load(served, servable, x, 1, 1, seconds=1)
                medians = [self.load(served, servable, x, 1, 1)[0].median_us for _ in range(self.rounds)]
            self.add(f"W1, one in flight, {name}", statistics.median(medians), "µs, median", target, at_most=True)

    def batching(self) -> None:
        """One in flight: a batch size of 64 against one of 1, alternated."""
        x = np.arange(16, dtype=np.float32)[None] / 8
        medians: dict[str, list[float]] = {"predict": [], "predict_single": []}
        with serving(self.models, ["w1"]) as served:
            for _ in range(3 * self.rounds):
                for method, values in medians.items():
                    result, _ = self.load(served, "w1", x, 1, 1, seconds=1, method=method)
                    values.append(result.median_us)
        on, off = (statistics.median(values) for values in medians.values())
        note = f"{on:.0f} µs on, {off:.0f} µs off"
        self.add("batching on / off, one in flight", on / off, "times as slow", 1.1, at_most=True, note=note)

    def json(self) -> None:
        """A body of 3 MB there, and one like it back."""
        from servoir.client import Client

        x = np.round(np.random.default_rng(3).random(300_000), 7).astype(np.float32)
        body = json.dumps({"instances": [{"x": [float(str(value)) for value in x]}]}, separators=(",", ":")).encode()
        with serving(self.models, ["echo"]) as served:
            reply = Client(served.grpc, "echo", "predict").infer({"x": x})
            if not isinstance(reply, list) or not np.array_equal(reply[0].get("y", ()), x):
                raise RuntimeError(f"echo did not give back its array: {str(reply)[:200]}")
            url = f"http://{served.rest}/model/echo:predict"
            h2load(url, body, connections=1, streams=1, requests=10, grpc=False)
            result = h2load(url, body, connections=1, streams=1, requests=30 * self.rounds, grpc=False)
        if result.failed or result.reply_bytes < 0.9 * len(body):
            raise RuntimeError(f"JSON: {result.failed} failed, {result.reply_bytes:.0f} bytes a reply")
        note = f"{len(body) / 1e6:.1f} MB there, {result.reply_bytes / 1e6:.1f} MB back"
        self.add("JSON over REST", result.median_us / 1e3, "ms, median", 20, at_most=True, note=note)

    def saturated(self) -> None:
        """A model of milliseconds a batch against the backend called in-process, alternated."""
        x = np.random.default_rng(0).random((32, 64), np.float32)
        for backend in ("openvino", "onnxruntime"):
            name = f"heavy_{backend}"
            alone, served_rates, batch = [], [], {}
            command = [
                sys.executable,
                str(HERE / "backend_alone.py"),
                backend,
                str(self.models / name / "1/heavy.onnx"),
            ]
            command += ["--seconds", str(self.seconds / 3)]
            for _ in range(self.rounds):
                batch = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
                alone.append(batch["per_second"])
                with serving(self.models, [name]) as served:
                    self.load(served, name, x, 8, 2, seconds=1)
                    result, _ = self.load(served, name, x, 8, 2)
                    served_rates.append(len(x) * result.requests / result.seconds)
            share = 100 * statistics.median(served_rates) / statistics.median(alone)
            note = (
                f"{statistics.median(served_rates):,.0f} of {statistics.median(alone):,.0f} instances/s;"
                f" alone best at {batch['batch']} a batch, {batch['batch_ms']:.1f} ms; the load shares the cores"
            )
            self.add(f"saturated model, {backend}", share, "% of the backend alone", 95, note=note)

    def threads(self) -> None:
        """On one core: the backend's default number of threads against others set by hand, alternated."""
        x = np.random.default_rng(0).random((32, 64), np.float32)
        for backend in ("openvino", "onnxruntime"):
            name = f"heavy_{backend}"
            rates: dict[str, list[float]] = {"default": [], "1": [], "2": []}
            for _ in range(self.rounds):
                for setting, found in rates.items():
                    env = {} if setting == "default" else {"SERVOIR_BACKEND_THREADS": setting}
                    with serving(self.models, [name], self.server_core, env) as served:
                        self.load(served, name, x, 8, 2, seconds=1, core=self.load_core)
                        result, _ = self.load(served, name, x, 8, 2, core=self.load_core)
                        found.append(len(x) * result.requests / result.seconds)
            medians = {setting: statistics.median(found) for setting, found in rates.items()}
            share = 100 * medians["default"] / max(medians.values())
            note = "instances/s on one core: " + ", ".join(f"{rate:,.0f} ({name})" for name, rate in medians.items())
            self.add(f"default threads on one core, {backend}", share, "% of the best setting", 90, note=note)

    def connections(self) -> None:
        """1 000 clients with one request in flight each, alone and next to 10 000 that are silent."""
        x = np.arange(16, dtype=np.float32)[None] / 8
        silent = min(10_000, most_connections())
        with serving(self.models, ["w1_native"]) as served:
            self.load(served, "w1_native", x, 8, 8, seconds=1)
            alone, _ = self.load(served, "w1_native", x, 1000, 1)
            before = status_kib(served.pid, "RssAnon")
            with idle_connections(served.grpc, silent):
                each = (status_kib(served.pid, "RssAnon") - before) / silent
                sample = Sample(served.pid)
                time.sleep(self.seconds)
                sample.stop()
                beside, _ = self.load(served, "w1_native", x, 1000, 1)
        self.add(f"memory of a silent connection, of {silent}", each, "KiB")
        self.add(f"CPU of {silent} silent connections", 100 * sample.cpu / sample.wall, "% of a core")
        for name, result in (("alone", alone), (f"next to {silent} silent ones", beside)):
            p50, p99 = (float(np.percentile(result.latencies_us, part)) / 1e3 for part in (50, 99))
            note = f"{result.requests / result.seconds:,.0f} requests/s, median {p50:.3g} ms; the load shares the cores"
            self.add(f"1000 busy connections {name}", p99, "ms, 99th percentile", note=note)

    def idle(self) -> None:
        ready, cpu, pss = [], [], []
        for _ in range(self.rounds):
            with serving(self.models, ["w1"]) as served:
                ready.append(served.ready_seconds)
                x = np.zeros((1, 16), np.float32)
                self.check(served, "w1", x, x + 1)
                time.sleep(1)
                sample = Sample(served.pid)
                time.sleep(self.seconds)
                sample.stop()
                cpu.append(100 * sample.cpu / sample.wall)
                pss.append(pss_mb(served.pid))
        self.add("idle, server and a Python worker", statistics.median(cpu), "% of a core", 0.5, at_most=True)
        self.add("start to ready, Python stage", statistics.median(ready), "s", 0.5, at_most=True)
        self.add("memory of server and a Python worker", statistics.median(pss), "MB (PSS)", 80, at_most=True)

    def imports(self) -> None:
        code = "import time; t = time.perf_counter(); import servoir.client; print(time.perf_counter() - t)"
        took = [
            float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
            for _ in range(5)
        ]
        self.add("import servoir.client", 1e3 * statistics.median(took), "ms", 150, at_most=True)

    def peers(self) -> None:
        for name, work, value, note in measure_peers(self.args, self.models, self.seconds, self.rounds):
            self.add(f"{work}, {name}", value, "requests per server CPU s", note=note)

    def machine(self) -> str:
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else platform.machine()
        versions = [f"{package} {version_of(package)}" for package in ("servoir", "numpy", "openvino", "onnxruntime")]
        return (
            f"{len(os.sched_getaffinity(0))} cores of {model}, Linux {platform.release()}, Python"
            f" {platform.python_version()}, {', '.join(versions)}; calibration {calibration_ms():.1f} ms"
        )


def version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "is not there"


def initializer_of(model: Any, name: str) -> np.ndarray:
    from onnx import numpy_helper

    (found,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    return np.asarray(numpy_helper.to_array(found))


SECTIONS: dict[str, Callable[[Bench], None]] = {
    "w1": Bench.w1,
    "w2": Bench.w2,
    "w3": Bench.w3,
    "latency": Bench.latency,
    "batching": Bench.batching,
    "json": Bench.json,
    "saturated": Bench.saturated,
    "threads": Bench.threads,
    "connections": Bench.connections,
    "servables": measure_servables,
    "idle": Bench.idle,
    "imports": Bench.imports,
    "peers": Bench.peers,
}

NEEDS_MUCH = {"servables"}  # memory and time: only where it is named


def measured(bench: Bench, name: str) -> str:
    """Runs a section; what went wrong, or nothing. One section's failure leaves the others alone."""
    try:
        SECTIONS[name](bench)
    except Exception as error:
        print(f"{name}: {error}", file=sys.stderr, flush=True)
        return f"{name}: {error}"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 s a figure, one round")
    parser.add_argument("--only", help=f"comma list of {', '.join(SECTIONS)}")
    parser.add_argument(
        "--work", type=Path, default=HERE.parent / "build" / "bench", help="folder for models and figures"
    )
    parser.add_argument("--servables", type=int, default=500, help="how many the section of this name serves")
    parser.add_argument("--peers", default="", help="comma list of triton, mosec")
    parser.add_argument("--peer-scripts", type=Path, help="folder with measure.py and the peers' serve_*.py")
    parser.add_argument("--peer-venvs", type=Path, help="folder with PEER/venv for each peer, and mlp.onnx")
    args = parser.parse_args()
    names = args.only.split(",") if args.only else [name for name in SECTIONS if name not in NEEDS_MUCH]
    for name in names:
        if name not in SECTIONS:
            parser.error(f"--only: there is no section {name!r}; there are {', '.join(SECTIONS)}")
    if args.peers and not (args.peer_scripts and args.peer_venvs):
        parser.error("--peers needs --peer-scripts and --peer-venvs")
    if shutil.which("h2load") is None:
        parser.error("h2load is not installed (Debian: nghttp2-client)")

    import make_models

    args.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(args)
    make_models.make(bench.models)
    print(bench.machine(), flush=True)
    failed = [text for text in (measured(bench, name) for name in names) if text]
    print(f"\n{table(bench.figures)}\n\n{bench.machine()}")
    for text in failed:
        print(f"not measured: {text}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
