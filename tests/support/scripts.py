"""Start scripts that a test writes itself, with their servables."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from servoir.client import Client

from support.servers import ServerProcess

# Python stages only, and the smallest servable there is.
PLAIN = """
from servoir.server import register

def plus_one(x):
    return x + 1

@register.register_method(output_names=["y"])
def add(x):
    return register.add_stage(plus_one, x, outputs_count=1)
"""

# Before a configuration: the worker says that it has come so far, and waits.
WAITS = """
import os, time
open("imported", "w")
while not os.path.exists("go on"):
    time.sleep(0.005)
"""

_PREPARE = """
import os, signal, socket, sys, threading, time
from servoir import server

GRPC, REST = sys.argv[2], sys.argv[4]  # free addresses

def config(name="s", **keywords):
    return server.ServableStartConfig({models!r}, name, **keywords)

def say(*what):
    print(*what, flush=True)

def refused(start, *args, **keywords):
    # Prints the text of the RuntimeError, in one line.
    try:
        start(*args, **keywords)
    except RuntimeError as error:
        say("refused:", " ".join(str(error).split()))
    else:
        say("accepted")

def is_open(address):
    # Whether a server listens there.
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0

def await_file(name):
    while not os.path.exists(name):
        time.sleep(0.005)
"""


def ask(server: ServerProcess, servable: str = "s", x: int = 4) -> Any:
    """What PLAIN answers."""
    return Client(server.grpc, servable, "add").infer({"x": x})


def assert_answers(server: ServerProcess, servable: str = "s") -> None:
    answer = ask(server, servable)
    assert isinstance(answer, list), answer
    assert answer[0]["y"] == 5


def write_servables(directory: Path, servables: dict[str, str]) -> None:
    """One directory with a servable_config.py for each."""
    for name, text in servables.items():
        (directory / name).mkdir(parents=True, exist_ok=True)
        (directory / name / "servable_config.py").write_text(textwrap.dedent(text))


class ServerScript(ServerProcess):
    """A script of this text, run in `work`, with `server`, `config`, `say`, `refused` and `is_open` at hand. Its
    servables are in work/models."""

    def __init__(
        self, work: Path, code: str, servables: dict[str, str] | None = None, env: dict[str, str] | None = None
    ) -> None:
        write_servables(work / "models", {"s": PLAIN} if servables is None else servables)
        script = work / "script.py"
        script.write_text(_PREPARE.format(models=str(work / "models")) + textwrap.dedent(code))
        super().__init__([str(script)], work, env)

    def end(self, seconds: float = 20) -> tuple[int, list[str]]:
        """Waits for the script's own end: exit status, and the lines that it and the server wrote."""
        return self.await_end(seconds, "the script"), self.lines

    def said(self, start: str) -> list[str]:
        """What follows `start` in the lines that begin with it."""
        return [line.removeprefix(start).strip() for line in list(self.lines) if line.startswith(start)]


RunScript = Callable[..., ServerScript]


def script_runner(work: Path) -> Iterator[RunScript]:
    """run(code, servables={name: text}, env={…}): a script in a directory of its own."""
    mine: list[ServerScript] = []

    def run(
        code: str,
        servables: dict[str, str] | None = None,
        env: dict[str, str] | None = None,
        directory: Path | None = None,
    ) -> ServerScript:
        script = ServerScript(directory or work / f"script{len(mine)}", code, servables, env)
        mine.append(script)
        return script

    yield run
    for script in mine:
        script.kill()


def run_python(code: str, work: Path) -> subprocess.CompletedProcess[str]:
    """A short program to its end."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=work, capture_output=True, text=True, timeout=60, check=False
    )
