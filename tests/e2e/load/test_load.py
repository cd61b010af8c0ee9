"""64 clients for a minute, every answer checked, memory watched. SERVOIR_E2E_SECONDS sets another duration; in less
than a minute memory does not settle, and is not judged."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from support import EXAMPLES, TESTS
from support.modules import load_module
from support.servers import ServerProcess

SECONDS = float(os.environ.get("SERVOIR_E2E_SECONDS", "60"))
SETTLED_SECONDS = 60
CLIENTS, PROCESSES = 64, 2


def mlp_rows(count: int) -> tuple[np.ndarray, np.ndarray]:
    w1, w2 = load_module(EXAMPLES / "mlp" / "make_model.py").weights()
    x = np.random.default_rng(6).random((count, 784), np.float32)
    return x, np.maximum(x @ w1, 0) @ w2


def test_64_clients_on_the_mlp(
    start: Callable[..., ServerProcess], example_servables: Path, stubs: Any, tmp_path: Path
) -> None:
    server = start("mlp", directory=example_servables, device_ids=0)
    workers = server.workers()
    x, y = mlp_rows(256)
    np.savez(tmp_path / "rows.npz", x=x, y=y)
    command = [sys.executable, "-m", "support.load_client", server.grpc]
    command += ["--stubs", str(Path(stubs[0].__file__).parent), "--data", str(tmp_path / "rows.npz")]
    command += ["--clients", str(CLIENTS // PROCESSES), "--seconds", str(SECONDS)]
    env = {**os.environ, "PYTHONPATH": str(TESTS)}
    clients = [
        subprocess.Popen([*command, "--seed", str(seed)], env=env, stdout=subprocess.PIPE, text=True)
        for seed in range(PROCESSES)
    ]
    begun = time.monotonic()
    sizes: list[int] = []
    while time.monotonic() < begun + SECONDS:
        time.sleep(0.25)  # the sampling interval
        sizes.append(server.resident_kib())
    results = [json.loads(client.communicate(timeout=60)[0]) for client in clients]

    total = sum(result["requests"] for result in results)
    tenth = max(1, len(sizes) // 10)
    middle = statistics.median(sizes[len(sizes) // 2 : len(sizes) // 2 + tenth])
    last = statistics.median(sizes[-tenth:])
    print(
        f"{CLIENTS} clients for {SECONDS:g} s: {total} requests, {total / SECONDS:.0f}/s;"
        f" resident memory {middle / 1024:.1f} MiB at half time, {last / 1024:.1f} MiB at the end"
    )
    print("MiB every tenth of the time:", [round(size / 1024, 1) for size in sizes[::tenth]])
    for result in results:
        assert result["wrong_count"] == 0, result["wrong"]
        assert result["least"] > 0, "a client was never answered"
    assert server.workers() == workers
    if SECONDS >= SETTLED_SECONDS:
        assert last < 1.02 * middle
