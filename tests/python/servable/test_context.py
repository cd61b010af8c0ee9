"""Context and the device infos: what they take and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
from servoir.server import register


def test_context() -> None:
    context = register.Context(thread_num=2, thread_affinity_core_list=[0, 3], enable_parallel=True)
    context.append_device_info(register.CPUDeviceInfo(precision_mode="fp16"))
    context.append_device_info(register.GPUDeviceInfo())
    context.append_device_info(register.AscendDeviceInfo(output_type="FP16", input_shape="x:1,2"))
    assert (context.thread_num, context.thread_affinity_core_list, context.enable_parallel) == (2, (0, 3), True)
    assert context.settings_for("cpu") == {"precision_mode": "fp16"}
    assert context.settings_for("gpu") == {}
    assert context.settings_for("ascend") == {"output_type": "FP16", "input_shape": "x:1,2"}
    assert register.declare_model("a", context=context).context is context


@pytest.mark.parametrize(
    ("arguments", "parameter"),
    [
        ({"thread_num": 0}, "thread_num"),
        ({"thread_num": "2"}, "thread_num"),
        ({"thread_num": True}, "thread_num"),
        ({"thread_affinity_core_list": 1}, "thread_affinity_core_list"),
        ({"thread_affinity_core_list": [1, 1]}, "thread_affinity_core_list"),
        ({"thread_affinity_core_list": [-1]}, "thread_affinity_core_list"),
        ({"enable_parallel": 1}, "enable_parallel"),
        ({"threads": 1}, "threads"),
    ],
)
def test_bad_context(arguments: dict[str, Any], parameter: str) -> None:
    with pytest.raises(RuntimeError, match=f"'{parameter}"):
        register.Context(**arguments)


def test_a_context_takes_each_device_once() -> None:
    context = register.Context()
    context.append_device_info(register.CPUDeviceInfo())
    with pytest.raises(RuntimeError, match="CPUDeviceInfo was appended before"):
        context.append_device_info(register.CPUDeviceInfo(precision_mode="fp16"))
    with pytest.raises(RuntimeError, match="'device_info'"):
        context.append_device_info("cpu")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "arguments", "parameter"),
    [
        (register.CPUDeviceInfo, {"precision_mode": "int8"}, "precision_mode"),
        (register.CPUDeviceInfo, {"precision": "fp16"}, "precision"),
        (register.GPUDeviceInfo, {"precision_mode": 16}, "precision_mode"),
        (register.AscendDeviceInfo, {"input_format": "nchw"}, "input_format"),
        (register.AscendDeviceInfo, {"insert_op_cfg_path": ""}, "insert_op_cfg_path"),
        (register.AscendDeviceInfo, {"buffer_optimize_mode": "l3"}, "buffer_optimize_mode"),
    ],
)
def test_bad_device_infos(make: Any, arguments: dict[str, Any], parameter: str) -> None:
    with pytest.raises(RuntimeError, match=f"'{parameter}'"):
        make(**arguments)
