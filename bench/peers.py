"""Other servers and ours, alternated in the same minutes and asked by the same driver."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from served import free_port

HERE = Path(__file__).resolve().parent
IN_FLIGHT = {"w1": 64, "w2": 64, "w3": 4}


def peer_commands(args: argparse.Namespace, models: Path) -> dict[str, tuple[str, str]]:
    """Of each server: the command that starts it, and the protocol by which it is asked."""
    serve = shlex.join([sys.executable, str(HERE / "serve.py"), str(models)])
    commands = {"servoir": (serve + " {work} --grpc 127.0.0.1:{port} --rest 127.0.0.1:{http_port}", "grpc-ms")}
    for peer in filter(None, args.peers.split(",")):
        python = args.peer_venvs / peer / "venv" / "bin" / "python"
        if peer == "triton":
            script = args.peer_scripts / "serve_triton_native.py"
            folder = args.work / "triton-repository"
            start = f"{python} {script} --work {{work}} --port {{port}} --http-port {{http_port}} --dir {folder}"
            commands[peer] = (start, "grpc-v2")
        elif peer == "mosec":
            script = args.peer_scripts / "serve_mosec.py"
            commands[peer] = (f"{python} {script} --work {{work}} --port {{port}}", "http-raw")
        else:
            raise RuntimeError(f"--peers: {peer!r} is not known; there are triton and mosec")
    return commands


def measure_peers(
    args: argparse.Namespace, models: Path, seconds: float, rounds: int
) -> Iterator[tuple[str, str, float, str]]:
    """(server, work, requests per server CPU second, note): medians of the rounds, each server once a round."""
    if not args.peers:
        return
    commands = peer_commands(args, models)
    driver = args.peer_scripts / "measure.py"
    environment = {**os.environ, "MLP_ONNX": str(args.peer_venvs / "mlp.onnx"), "PYTHONDONTWRITEBYTECODE": "1"}
    for work, in_flight in IN_FLIGHT.items():
        found: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, (start, protocol) in commands.items():
                command = [sys.executable, str(driver), "--name", name, "--start", start, "--proto", protocol]
                command += ["--port", str(free_port()), "--http-port", str(free_port()), "--work", work, "--pin"]
                command += [
                    "--runs",
                    "1",
                    "--conc",
                    str(in_flight),
                    "--secs",
                    f"{seconds:.0f}",
                    "--cwd",
                    str(args.work),
                ]
                command += ["--log", str(args.work / f"{name}-{work}.log")]
                done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
                lines = [json.loads(line) for line in done.stdout.splitlines()]
                run = next((line for line in lines if "rps" in line), None)
                if run is None or run["errors"]:
                    raise RuntimeError(f"{name}, {work}: {done.stdout}{done.stderr}")
                found[name].append(run)
        for name, runs in found.items():
            calibration = [run["calib_ms"] for run in runs]
            yield (
                name,
                work.upper(),
                statistics.median(run["rps_per_server_cpu_s"] for run in runs),
                f"{in_flight} in flight by {commands[name][1]}, {statistics.median(run['rps'] for run in runs):,.0f}"
                f" requests/s, p50 {statistics.median(run['p50_ms'] for run in runs):.2f} ms;"
                f" calibration {min(calibration)} … {max(calibration)} ms",
            )
