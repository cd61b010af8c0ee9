"""Loads a library, with all that it needs, in a process of its own, which may crash or hang without harm."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SECONDS = 120  # MindSpore takes some when its files are not in memory yet

# The program that servers try a package's extension with, too. Its report is as cpp/src/discovery/trial_report.h says.
PROGRAM = Path(__file__).resolve().parents[1] / "python" / "servoir" / "backends" / "trial_program.py"


@dataclass(frozen=True)
class Trial:
    problem: str = ""  # empty: it was loaded. Else continues "LIBRARY …"
    version: str = ""  # what its version function says


def load(library: Path | str, seconds: float = SECONDS, version_function: str = "") -> Trial:
    reader, writer = os.pipe()
    with tempfile.TemporaryFile() as output, open(reader, "rb") as report:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", str(PROGRAM), str(writer), str(library), version_function],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(writer,),
            start_new_session=True,  # what it may start goes with it
        )
        os.close(writer)
        try:
            status = child.wait(seconds)
        except subprocess.TimeoutExpired:
            return Trial(f"does not load: it was still at it after {seconds:g} s")
        finally:
            # With all that it has started, which could hold the report open.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        said, whole = read_report(report.read())
        output.seek(0)
        text = output.read().decode(errors="replace")
    if "refused" in said:
        return Trial(f"cannot be loaded: {said['refused']}")
    if whole:
        return Trial(version=said.get("version", ""))
    if status == -signal.SIGBUS:
        return Trial("ends the process that loads it with SIGBUS, as a file does that is truncated")
    if status < 0:
        return Trial(f"ends the process that loads it with {signal.Signals(-status).name}{_last_line(text)}")
    return Trial(f"ends the process that loads it with status {status}{_last_line(text)}")


def read_report(report: bytes) -> tuple[dict[str, str], bool]:
    """The report's records by their keys, and whether the program has written all of them."""
    records = report.decode(errors="replace").split("\0")
    return dict(record.split(" ", 1) for record in records if " " in record), records[-2:] == ["end", ""]


def _last_line(text: str) -> str:
    lines = text.split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f": {last}" if last else ""
