"""Writes small MindIR files with MindSpore: python -m support.models.mindir_models DIRECTORY KEY (hexadecimal).

fixed, dynamic    y = x W, total = sum of y, for 4 instances or any number; W as in exact_models.py
first, second     doubled = 2 x; tripled = 3 x, for 2 instances
count             1, 2, 3, … for each run, with state
gcm, cbc          fixed, encrypted by MindSpore
"""

import sys
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from support.models.exact_models import WEIGHTS


class Exact(nn.Cell):
    def __init__(self):
        super().__init__()
        self.w = Parameter(Tensor(WEIGHTS), name="w")

    def construct(self, x):
        y = ops.matmul(x, self.w)
        return y, ops.reduce_sum(y, 1)


class Times(nn.Cell):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def construct(self, x):
        return x * self.factor


class Count(nn.Cell):
    def __init__(self):
        super().__init__()
        self.runs = Parameter(Tensor(np.zeros(1, np.float32)), name="runs")

    def construct(self, x):
        self.runs += 1
        return self.runs + 0 * x


def export(net, given, path, **keywords):
    ms.export(net, given, file_name=str(path), file_format="MINDIR", **keywords)


def make(directory: Path, key: bytes) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    four = Tensor(np.zeros((4, 16), np.float32))
    export(Exact(), four, directory / "fixed")
    export(Exact(), Tensor(shape=[None, 16], dtype=ms.float32), directory / "dynamic")
    for name, factor in (("first", 2), ("second", 3)):
        export(Times(factor), Tensor(np.zeros((2, 3), np.float32)), directory / name)
    export(Count(), Tensor(np.zeros(1, np.float32)), directory / "count")
    export(Exact(), four, directory / "gcm", enc_key=key, enc_mode="AES-GCM")
    export(Exact(), four, directory / "cbc", enc_key=key, enc_mode="AES-CBC")


if __name__ == "__main__":
    make(Path(sys.argv[1]), bytes.fromhex(sys.argv[2]))
