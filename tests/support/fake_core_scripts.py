"""Server scripts as processes of their own, on a core that only writes down what it is told (fake_core.py)."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import servoir

from support.processes import Program, alive, wait_until

PACKAGE = Path(servoir.__file__).resolve().parent

CONFIG = """
from servoir.server import register

def f(x):
    return x

@register.register_method(output_names=["y"])
def m(x):
    return register.add_stage(f, x, outputs_count=1)
"""

# A method without stages.
PLAIN_CONFIG = "from servoir.server import register\n@register.register_method('y')\ndef m(x):\n    return x\n"

_PREPARE = """
import os, signal, sys, time
from servoir import server

def config(name="s", **keywords):
    return server.ServableStartConfig(MODELS, name, **keywords)
"""


def copy_package(place: Path) -> None:
    """The package as it is, but for the extension."""
    shutil.copytree(PACKAGE, place / "servoir", ignore=shutil.ignore_patterns("_core*", "__pycache__"))
    shutil.copy(Path(__file__).with_name("fake_core.py"), place / "servoir" / "_core.py")


class FakeCoreScript(Program):
    """A running server script and what its core was told."""

    def __init__(self, code: str, work: Path, environment: dict[str, str]) -> None:
        self.core_log = Path(environment["FAKE_CORE_LOG"])
        script = work / "script.py"
        script.write_text(_PREPARE.replace("MODELS", repr(str(work / "models"))) + textwrap.dedent(code))
        super().__init__([str(script)], work, environment, separate_errors=True)

    def end(self, seconds: float = 15) -> tuple[int, str, str]:
        """Waits for the script's own end: exit status, stdout, stderr."""
        status = self.await_end(seconds, "the script")
        written, errors = ("".join(f"{line}\n" for line in lines) for lines in (self.lines, self.error_lines))
        return status, written, errors

    def records(self, *kinds: str) -> list[list[Any]]:
        """What the core was told, by the server and by workers; without the process id."""
        return [record[1:] for record in self.all_records() if not kinds or record[1] in kinds]

    def all_records(self) -> list[list[Any]]:
        if not self.core_log.exists():
            return []
        return [json.loads(line) for line in self.core_log.read_text().splitlines() if line.endswith("]")]

    def wait(self, kind: str, count: int = 1, seconds: float = 10) -> list[list[Any]]:
        """Until the core was told `kind` so often; all of them."""

        def enough() -> list[list[Any]]:
            found = self.records(kind)
            return found if len(found) >= count else []

        try:
            result: list[list[Any]] = wait_until(enough, seconds, f"{count} times {kind}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.records()}") from None
        return result

    def await_end_of(self, pids: list[int], seconds: float) -> None:
        wait_until(lambda: not any(alive(pid) for pid in pids), seconds, f"the end of {pids}")

    def await_file(self, name: str) -> None:
        """In the script's directory."""
        wait_until((self.work / name).exists, 10, f"the file {name}")

    def is_alive(self, pid: int) -> bool:
        return alive(pid)

    def order(self, name: str, text: str) -> None:
        """A file that the fake core looks for."""
        temporary = self.core_log.with_name("new")
        temporary.write_text(text)
        temporary.rename(self.core_log.with_name(name))

    def log_files(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in sorted((self.work / "serving_logs").glob("*"))}

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        super().kill()


Run = Callable[..., FakeCoreScript]


def fake_core_runner(tree: Path, work: Path) -> Iterator[Run]:
    """run(code, servables={name: text of servable_config.py}, **environment): starts a script that has `server` and
    `config(name="s", …)` at hand, with the package in `tree`."""
    started: list[FakeCoreScript] = []

    def start(code: str, servables: dict[str, str] | None = None, **environment: str) -> FakeCoreScript:
        for name, text in ({"s": CONFIG} if servables is None else servables).items():
            directory = work / "models" / name
            directory.mkdir(parents=True)
            (directory / "servable_config.py").write_text(text)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SERVOIR_", "GLOG_", "PYTHON"))}
        inherited |= {"PYTHONPATH": str(tree), "FAKE_CORE_LOG": str(work / "core.log"), "PYTHONUNBUFFERED": "1"}
        script = FakeCoreScript(code, work, inherited | environment)
        started.append(script)
        return script

    yield start
    for script in started:
        script.kill()
