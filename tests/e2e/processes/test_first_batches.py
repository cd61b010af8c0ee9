"""The first batches of a worker, which its lanes for functions and for models may run at the same time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from support.foreign_client import ForeignClient
from support.servers import Start

# numpy's C API is looked up with the first array. Here that takes a while, during which other threads run.
SLOW = """
import sys, time, types
from servoir.server import register

class Slow(types.ModuleType):
    def __getattr__(self, name):
        if name == "_ARRAY_API":
            time.sleep(0.3)
        return getattr(real, name)

name = next(name for name in ("numpy._core.multiarray", "numpy.core.multiarray") if name in sys.modules)
real = sys.modules[name]
sys.modules[name] = Slow(name)

class AddOne:
    inputs = outputs = [{"name": "x", "dtype": "float32", "shape": [-1, 2]}]

    def execute(self, inputs):
        return [inputs[0] + 1]

model = register.declare_model(backend=AddOne)

@register.register_method(output_names=["y"])
def by_function(x):
    return register.add_stage(lambda x: x + 1, x, outputs_count=1)

@register.register_method(output_names=["y"])
def by_model(x):
    return register.add_stage(model, x, outputs_count=1)
"""


def test_a_function_and_a_model_may_make_the_first_arrays_at_once(start: Start, stubs: Any, tmp_path: Path) -> None:
    (tmp_path / "slow" / "1").mkdir(parents=True)
    (tmp_path / "slow" / "servable_config.py").write_text(SLOW)
    server = start("slow", directory=tmp_path, device_ids=0)
    with ForeignClient(stubs, server.grpc) as client:
        x = {"x": np.ones(2, np.float32)}
        calls = [
            client.stub.Predict.future(client.request("slow", method, [x]), timeout=20)
            for method in ("by_function", "by_model")
        ]
        for call in calls:
            assert client.outputs(call.result(), 1)[0]["y"].tolist() == [2, 2]
