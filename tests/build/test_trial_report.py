"""The report of a trial: the example that tests/cpp/discovery/trial_report_test.cc writes and reads as well."""

from __future__ import annotations

import runpy
import subprocess
import sys

from support import ROOT

SCRIPT = runpy.run_path(str(ROOT / "scripts" / "library_trial.py"))
EXAMPLE = (ROOT / "tests" / "support" / "trial_report").read_bytes()
WRITE = """
import runpy
report = runpy.run_path({program!r})["Report"](1)
report.tell("path", "/opt/a directory/libthing.so")
report.tell("version", "")
report.tell("device", "CPU")
report.tell("device", "GPU.0 „ß“")
report.tell("refused", "two lines:\\nthe second, and one\\0NUL")
report.end()
"""


def test_the_example_is_written() -> None:
    command = [sys.executable, "-I", "-S", "-c", WRITE.format(program=str(SCRIPT["PROGRAM"]))]
    assert subprocess.run(command, stdout=subprocess.PIPE, timeout=60, check=True).stdout == EXAMPLE


def test_the_example_is_read() -> None:
    read_report = SCRIPT["read_report"]
    records, whole = read_report(EXAMPLE)
    assert whole
    assert records == {
        "path": "/opt/a directory/libthing.so",
        "version": "",
        "device": "GPU.0 „ß“",
        "refused": "two lines:\nthe second, and one NUL",
    }
    assert not any(read_report(EXAMPLE[:size])[1] for size in range(len(EXAMPLE)))
    assert not read_report(b"version the end\0")[1]
