"""Server scripts that run as processes of their own, on the fake core."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import servoir

PACKAGE = Path(servoir.__file__).resolve().parent

CONFIG = """
from servoir.server import register

def f(x):
    return x

@register.register_method(output_names=["y"])
def m(x):
    return register.add_stage(f, x, outputs_count=1)
"""

PREPARE = """
import os, signal, sys, time
from servoir import server

def config(name="s", **keywords):
    return server.ServableStartConfig(MODELS, name, **keywords)
"""


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 10) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.005)


def is_alive(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text[text.rindex(")") + 2] not in "ZX"


class Script:
    """A running server script and what its core was told."""

    def __init__(self, code: str, work: Path, environment: dict[str, str]) -> None:
        self.work = work
        self.log = Path(environment["FAKE_CORE_LOG"])
        script = work / "script.py"
        script.write_text(PREPARE.replace("MODELS", repr(str(work / "models"))) + textwrap.dedent(code))
        self.process = subprocess.Popen(
            [sys.executable, str(script)],
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.pid = self.process.pid

    def end(self, seconds: float = 15) -> tuple[int, str, str]:
        """Waits for the script's own end: exit status, stdout, stderr."""
        out, err = self.process.communicate(timeout=seconds)
        return self.process.returncode, out, err

    def records(self, *kinds: str) -> list[list[Any]]:
        """What the core was told, by the server and by workers; without the process id."""
        return [record[1:] for record in self.all_records() if not kinds or record[1] in kinds]

    def all_records(self) -> list[list[Any]]:
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.endswith("]")]

    def wait(self, kind: str, count: int = 1, seconds: float = 10) -> list[list[Any]]:
        """Until the core was told `kind` so often; all of them."""

        def enough() -> list[list[Any]]:
            found = self.records(kind)
            return found if len(found) >= count else []

        try:
            result: list[list[Any]] = wait_until(enough, f"{count} times {kind}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.records()}") from None
        return result

    def await_end_of(self, pids: list[int], seconds: float) -> None:
        wait_until(lambda: not any(is_alive(pid) for pid in pids), f"the end of {pids}", seconds)

    def await_file(self, name: str) -> None:
        """In the script's directory."""
        wait_until((self.work / name).exists, f"the file {name}")

    def is_alive(self, pid: int) -> bool:
        return is_alive(pid)

    def workers(self) -> list[int]:
        """Direct children, alive."""
        children = Path(f"/proc/{self.pid}/task").glob("*/children")
        pids = []
        for file in children:
            with contextlib.suppress(OSError):
                pids += [int(pid) for pid in file.read_text().split()]
        return sorted(pid for pid in pids if is_alive(pid))

    def order(self, name: str, text: str) -> None:
        """A file that the fake core looks for."""
        temporary = self.log.with_name("new")
        temporary.write_text(text)
        temporary.rename(self.log.with_name(name))

    def log_files(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in sorted((self.work / "serving_logs").glob("*"))}

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with the package as it is, but for the extension."""
    place = tmp_path_factory.mktemp("tree")
    ignore = shutil.ignore_patterns("_core*", "__pycache__")
    shutil.copytree(PACKAGE, place / "servoir", ignore=ignore)
    shutil.copy(Path(__file__).with_name("fake_core.py"), place / "servoir" / "_core.py")
    return place


Run = Callable[..., Script]


@pytest.fixture
def run(tree: Path, tmp_path: Path) -> Iterator[Run]:
    """run(code, servables={name: text of servable_config.py}, **environment): starts a script that has `server` and
    `config(name="s", …)` at hand."""
    started: list[Script] = []

    def start(code: str, servables: dict[str, str] | None = None, **environment: str) -> Script:
        for name, text in ({"s": CONFIG} if servables is None else servables).items():
            directory = tmp_path / "models" / name
            directory.mkdir(parents=True)
            (directory / "servable_config.py").write_text(text)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SERVOIR_", "GLOG_", "PYTHON"))}
        inherited |= {"PYTHONPATH": str(tree), "FAKE_CORE_LOG": str(tmp_path / "core.log"), "PYTHONUNBUFFERED": "1"}
        script = Script(code, tmp_path, inherited | environment)
        started.append(script)
        return script

    yield start
    for script in started:
        script.kill()
