"""Models with inputs and outputs of bfloat16 take and give float32."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from servoir import backends
from servoir.backends import bfloat16
from support.in_process import InProcess
from support.kinds import ONNX_BACKENDS
from support.models import onnx_models

# Ties, what rounds up and down, the largest, what becomes infinity, the smallest, and what is no number.
NUMBERS = np.array(
    [1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-9, -3.1415927, 3.3895314e38, 3.4e38, -1e-40, 0.0, -0.0, np.inf, -np.inf, np.nan],
    np.float32,
)


def as_bfloat16(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return values.astype(ml_dtypes.bfloat16).astype(np.float32)


@pytest.mark.parametrize("shape", [(12,), (3, 4), (0,), (2, 0)])
def test_rounding(shape: tuple[int, ...]) -> None:
    values = NUMBERS[: int(np.prod(shape))].reshape(shape)
    np.testing.assert_array_equal(bfloat16.widened(bfloat16.rounded(values)), as_bfloat16(values))
    single = np.float32(1 + 3 * 2**-8).reshape(())
    assert bfloat16.widened(bfloat16.rounded(single)) == np.float32(1 + 2**-6)


def test_every_bfloat16_is_itself_as_float32() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    wide = bfloat16.widened(bits)
    np.testing.assert_array_equal(wide, bits.view(ml_dtypes.bfloat16).astype(np.float32))
    numbers = ~np.isnan(wide)
    np.testing.assert_array_equal(bfloat16.rounded(wide)[numbers], bits[numbers])
    assert np.isnan(bfloat16.widened(bfloat16.rounded(wide))[~numbers]).all()


@pytest.mark.parametrize("backend", ONNX_BACKENDS)
def test_a_model_of_bfloat16(backend: str, in_process: InProcess, tmp_path: Path) -> None:
    path = onnx_models.bfloat16(tmp_path / "bfloat16.onnx")
    if backend == "opencv_dnn":
        with pytest.raises(RuntimeError, match="'x' has a type that Servoir cannot serve"):
            backends.open_model([path], None, backend, 1, backends.CPU, {})
        return
    subgraph = backends.open_model([path], None, backend, 1, backends.CPU, {}).subgraphs[0]
    assert [port["dtype"] for port in subgraph.inputs + subgraph.outputs] == ["float32"] * 3
    in_process.model("bfloat16", subgraph)
    in_process.start()
    rows = NUMBERS.reshape(4, 3)
    wanted = as_bfloat16(rows)
    for _ in range(2):
        for (half, third), x in zip(in_process.infer("bfloat16", [(row,) for row in rows]), wanted, strict=True):
            np.testing.assert_array_equal(half, x / np.float32(2))
            if backend == "openvino":  # cuts off where it should round
                np.testing.assert_allclose(third, x / np.float32(3), rtol=2**-7, atol=1e-38)
                np.testing.assert_array_equal(third, as_bfloat16(third))
            else:
                np.testing.assert_array_equal(third, as_bfloat16(x / np.float32(3)))
