"""What editors and type checkers see of the keywords that are checked at run time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

RIGHT = """
from servoir.server.register import AscendDeviceInfo, Context, CPUDeviceInfo

context = Context(thread_num=2, thread_affinity_core_list=[0, 1], enable_parallel=False)
context.append_device_info(CPUDeviceInfo(precision_mode="fp16"))
context.append_device_info(AscendDeviceInfo(input_shape="x:1,2", output_type="FP32"))
"""
WRONG = {
    "Context(threads=2)": "threads",
    "Context(thread_num='2')": "thread_num",
    "CPUDeviceInfo(precision_mode='fp8')": "precision_mode",
    "AscendDeviceInfo(output_type='FP64')": "output_type",
}


def test_the_keywords_of_a_context(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    file = tmp_path / "servable_config.py"
    file.write_text(RIGHT + "\n".join(WRONG) + "\n")
    options = ["--strict", "--follow-imports=silent", "--config-file=", f"--cache-dir={tmp_path / 'cache'}"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(file)],
        env={**os.environ, "MYPYPATH": str(ROOT / "python")},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if "error:" in line]
    first = len(RIGHT.splitlines()) + 1
    assert [line.split(":")[1] for line in lines] == [str(first + number) for number in range(len(WRONG))], done.stdout
    for line, word in zip(lines, WRONG.values(), strict=True):
        assert f'"{word}"' in line
