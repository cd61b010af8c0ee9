"""OpenVINO keeps compiled code for each shape; that does not grow without end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper
from support import ROOT
from support.kinds import ONNX_BACKENDS
from support.models import onnx_models

# The longest first: memory for it is there already then. The second half of the lengths is what counts.
CODE = """
import sys
import numpy as np
from servoir import backends

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20

def run(length):
    model.execute_copied([np.ones((1, length, 64), np.float32)])

[model] = backends.open_model([sys.argv[1]], None, "openvino", 1, backends.CPU, {}).subgraphs
for length in (600, *range(1, 300)):
    run(length)
before = resident()
for length in range(300, 600):
    run(length)
print(resident() - before)
"""


@pytest.mark.skipif("openvino" not in ONNX_BACKENDS, reason="this build has no plug-in for OpenVINO")
def test_a_new_length_in_each_request(tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    shape = ["batch", "length", 64]
    path = onnx_models.save(
        tmp_path / "model.onnx",
        [
            onnx_models.helper.make_node("MatMul", ["x", "w"], ["product"]),
            onnx_models.helper.make_node("Relu", ["product"], ["y"]),
        ],
        [onnx_models.tensor("x", "float32", shape)],
        [onnx_models.tensor("y", "float32", shape)],
        [weights],
    )
    done = subprocess.run(
        [sys.executable, "-c", CODE, path], cwd=ROOT / "tests", capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 40, "MiB; without a limit it is 85"
