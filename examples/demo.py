"""The examples in one go: collects their models, starts one server with all of them, asks it over gRPC (Python client)
and REST (curl), compares every answer with the backend called directly, prints a table, stops the server.

Ends with 0 when everything was right, else with 1 and what was wrong."""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "tests"))  # where the package `support` is, which is not installed

from demo_direct import NoBackend, open_directly, read_directly  # noqa: E402
from demo_models import collect  # noqa: E402
from ocr.make_image import LINES, draw  # noqa: E402
from support.h2load import PREDICT, h2load, predict_request  # noqa: E402
from support.processes import ProgramError  # noqa: E402
from support.servers import SERVE, ServerProcess, running, serve_options  # noqa: E402

SERVABLES = ("add", "mlp", "ocr")
READY_SECONDS = 25.0


class DemoError(Exception):
    """An answer, or the server's behaviour, is not what it should be."""


def expect(condition: Any, text: str) -> None:
    if not condition:
        raise DemoError(text)


def close_to(got: Any, wanted: np.ndarray, what: str, tolerance: float = 1e-4) -> None:
    got = np.asarray(got)
    expect(got.shape == wanted.shape, f"{what}: shape {got.shape} instead of {wanted.shape}")
    far = np.abs(got.astype(np.float64) - wanted).max(initial=0.0)
    expect(far <= tolerance, f"{what}: differs by up to {far:.3g} from the backend called directly: {got} for {wanted}")


# ---- the server ------------------------------------------------------------------------------------------------------


@contextmanager
def running_server(work: Path) -> Iterator[ServerProcess]:
    """The server as a process of its own, with SERVABLES; what goes wrong shows its output."""
    directory = str(work / "servables")
    configs = [{"servable_directory": directory, "servable_name": name, "device_ids": 0} for name in SERVABLES]
    try:
        with running(ServerProcess([str(SERVE), *serve_options(configs)], work), READY_SECONDS) as server:
            yield server
    except ProgramError as error:
        raise DemoError(str(error)) from None


def curl(rest: str, target: str, instances: list[dict[str, Any]]) -> tuple[int, Any, float]:
    """POST with curl: HTTP status, the JSON answer, and the milliseconds that curl counts."""
    form = "\n%{http_code} %{time_total}"
    command = ["curl", "-sS", "--max-time", "20", "-w", form, "-H", "Content-Type: application/json"]
    command += ["--data-binary", "@-", f"http://{rest}/model/{target}"]
    done = subprocess.run(
        command, input=json.dumps({"instances": instances}), capture_output=True, text=True, check=False
    )
    expect(done.returncode == 0, f"curl {target}: {done.stderr.strip()}")
    body, _, written = done.stdout.rpartition("\n")
    status, seconds = written.split()
    return int(status), json.loads(body), 1e3 * float(seconds)


# ---- requests, checks, figures ---------------------------------------------------------------------------------------


class Table:
    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str, str]] = [("request", "answer", "latency", "throughput")]

    def add(self, request: str, answer: str, ms: float | None = None, per_second: float | None = None) -> None:
        latency = "" if ms is None else f"{ms:.2f} ms"
        throughput = "" if per_second is None else f"{per_second:,.0f}/s"
        self.rows.append((request, answer, latency, throughput))

    def __str__(self) -> str:
        wide = [max(len(row[i]) for row in self.rows) for i in range(4)]
        lines = [
            f"{row[0]:<{wide[0]}}  {row[1]:<{wide[1]}}  {row[2]:>{wide[2]}}  {row[3]:>{wide[3]}}" for row in self.rows
        ]
        return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def timed(call: Callable[[], Any], times: int) -> tuple[Any, float]:
    """The last answer, and the median of the calls in milliseconds."""
    answer, took = None, []
    for _ in range(times):
        start = time.perf_counter()
        answer = call()
        took.append((time.perf_counter() - start) * 1e3)
    return answer, statistics.median(took)


def answers_of(reply: Any, what: str) -> list[dict[str, Any]]:
    expect(isinstance(reply, list), f"{what}: {reply}")
    for number, answer in enumerate(reply):
        expect("error" not in answer, f"{what}, instance {number}: {answer}")
    return reply


def ask_tensor_add(grpc: str, rest: str, servables: Path, table: Table) -> None:
    from servoir.client import Client

    direct = open_directly(servables / "add/1/tensor_add.onnx")
    rng = np.random.default_rng(7)
    pairs = [(rng.random((2, 2), np.float32), rng.random((2, 2), np.float32)) for _ in range(3)]
    wanted = [direct({"x1": x1[None], "x2": x2[None]})[0] for x1, x2 in pairs]

    client = Client(grpc, "add", "add_common")
    instances = [{"x1": x1, "x2": x2} for x1, x2 in pairs]
    reply, took = timed(lambda: client.infer(instances), 50)
    for answer, want in zip(answers_of(reply, "add_common"), wanted, strict=True):
        close_to(answer["y"], want, "add_common")
    table.add("gRPC add:add_common, 3 instances", "[2,2] each, as the backend's", took)

    client_cast = Client(grpc, "add", "add_cast")
    ones = np.array([[1, 2], [3, 4]], np.int64)
    reply, took = timed(lambda: client_cast.infer({"x1": ones, "x2": ones}), 50)
    answer = answers_of(reply, "add_cast")[0]["y"]
    expect(answer.dtype == np.float32, f"add_cast: dtype {answer.dtype} instead of float32")
    cast = ones.astype(np.float32)[None]
    close_to(answer, direct({"x1": cast, "x2": cast})[0], "add_cast")
    table.add("gRPC add:add_cast, int64", str(answer.tolist()), took)

    bad = [instances[0], {"x1": np.ones(3, np.float32), "x2": np.ones(3, np.float32)}, instances[2]]
    reply = client.infer(bad)
    expect(isinstance(reply, list) and len(reply) == 3, f"a request with one bad instance: {reply}")
    expect("error" in reply[1], f"an instance of shape [3] for a model of [2, 2]: {reply[1]}")
    for i in (0, 2):
        expect("y" in reply[i], f"an instance next to a bad one: {reply[i]}")
        close_to(reply[i]["y"], wanted[i], "add_common next to a bad instance")
    table.add("gRPC add:add_common, 1 of 3 bad", "2 right, 1 error")

    status, body, took = curl(rest, "add:add_cast", [{"x1": [[1, 2], [3, 4]], "x2": [[1, 1], [1, 1]]}])
    sums = {"instances": [{"y": [[2.0, 3.0], [4.0, 5.0]]}]}
    expect(status == 200 and body == sums, f"REST add_cast: {status} {body}")
    table.add("curl add:add_cast", json.dumps(body["instances"][0]), took)

    status, body, took = curl(rest, "add:nothing", [{"x1": 1}])
    expect(status == 404 and "error_msg" in body, f"REST, a method that is not there: {status} {body}")
    table.add("curl add:nothing", "404 and error_msg", took)


def ask_mlp(grpc: str, rest: str, servables: Path, table: Table, seconds: float) -> None:
    from servoir.client import Client

    direct = open_directly(servables / "mlp/1/mlp.onnx")
    digits = np.random.default_rng(1).random((64, 784), np.float32)
    wanted = np.concatenate([direct({"x": digit[None]}) for digit in digits])

    client = Client(grpc, "mlp", "predict")
    reply, took = timed(lambda: client.infer({"x": digits[0]}), 200)
    close_to(answers_of(reply, "mlp")[0]["y"], wanted[0], "mlp")
    table.add("gRPC mlp:predict, one in flight", "[10], as the backend's", took, 1e3 / took)

    count, start = 0, time.perf_counter()
    while time.perf_counter() < start + seconds:
        calls = [client.infer_async({"x": digit}) for digit in digits]
        for call, want in zip(calls, wanted, strict=True):
            close_to(answers_of(call.result(), "mlp")[0]["y"], want, "mlp, 64 in flight")
            count += 1
    table.add(
        "gRPC mlp:predict, 64 in flight",
        "every one checked; the client is the limit",
        None,
        count / (time.perf_counter() - start),
    )
    if shutil.which("h2load"):
        body = predict_request("mlp", "predict", digits[:1])
        load = h2load(f"http://{grpc}{PREDICT}", body, connections=8, streams=8, seconds=min(seconds, 2))
        expect(load.failed == 0, f"h2load: {load.failed} of {load.requests} requests failed")
        table.add("h2load mlp:predict, 64 in flight", "", load.median_us / 1e3, load.requests / load.seconds)

    batch = [{"x": digit} for digit in digits]
    classify = Client(grpc, "mlp", "classify")
    reply, took = timed(lambda: classify.infer(batch), 10)
    found = [int(answer["digit"]) for answer in answers_of(reply, "mlp classify")]
    expect(found == wanted.argmax(1).tolist(), f"mlp classify: {found} instead of {wanted.argmax(1).tolist()}")
    table.add("gRPC mlp:classify, 64 instances", f"digits {found[:5]}...", took, 64e3 / took)

    status, body, took = curl(rest, "mlp:predict", [{"x": digits[0].tolist()}])
    expect(status == 200, f"REST mlp: {status} {body}")
    close_to(body["instances"][0]["y"], wanted[0], "REST mlp")
    table.add("curl mlp:predict", "[10], as the backend's", took)


def ask_ocr(grpc: str, rest: str, servables: Path, table: Table) -> None:
    from servoir.client import Client

    image = draw()
    wanted_text, wanted_boxes, wanted_scores = read_directly(servables, image)
    expect(wanted_text.splitlines() == list(LINES), f"the models called directly read {wanted_text!r}")

    client = Client(grpc, "ocr", "read")
    reply, took = timed(lambda: client.infer({"image": image}), 3)
    answer = answers_of(reply, "ocr")[0]
    expect(answer["text"] == wanted_text, f"ocr: text {answer['text']!r} instead of {wanted_text!r}")
    close_to(answer["boxes"], wanted_boxes, "ocr boxes", tolerance=1)
    close_to(answer["scores"], wanted_scores, "ocr scores", tolerance=1e-3)
    table.add("gRPC ocr:read, PNG of 3 lines", repr(answer["text"].splitlines()[0]) + ", ...", took, 1e3 / took)

    encoded = base64.b64encode(image).decode()
    status, body, took = curl(rest, "ocr:read", [{"image": {"b64": encoded, "type": "bytes"}}])
    expect(status == 200, f"REST ocr: {status} {body}")
    text = body["instances"][0]["text"]
    expect(text == wanted_text, f"REST ocr: text {text!r} instead of {wanted_text!r}")
    table.add("curl ocr:read", repr(text.splitlines()[-1]) + ", ...", took)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=HERE.parent / "build" / "demo", help="folder for models and logs")
    parser.add_argument("--seconds", type=float, default=3.0, help="duration of the throughput figure")
    args = parser.parse_args()
    work = args.work.resolve()
    shutil.rmtree(work / "serving_logs", ignore_errors=True)
    servables = work / "servables"
    table = Table()
    try:
        expect(shutil.which("curl") is not None, "curl is not installed")
        print(f"Collecting the models in {os.path.relpath(servables)}", flush=True)
        collect(servables, ("tensor_add", "mlp", "ocr"))
        print("Starting the server", flush=True)
        with running_server(work) as server:
            grpc, rest = server.grpc, server.rest
            print(f"Ready after {server.ready_seconds:.1f} s: gRPC {grpc}, REST {rest}\n", flush=True)
            ask_tensor_add(grpc, rest, servables, table)
            ask_mlp(grpc, rest, servables, table, args.seconds)
            ask_ocr(grpc, rest, servables, table)
        print(table)
        print("\nAll answers agree with the backend called directly; the server has ended.")
    except (DemoError, NoBackend) as error:
        print(table, file=sys.stderr)
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
