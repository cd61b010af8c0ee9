"""declare_model, Context and the device infos: what they take and what they refuse (api.md, section 4)."""

from __future__ import annotations

from typing import Any

import pytest
from servoir.server import register
from servoir.server.register.declarations import Declarations


def test_a_model_is_known_by_its_files(declared: Declarations) -> None:
    one = register.declare_model("a.onnx", "onnx")
    two = register.declare_model(("b.xml", "c.xml"), model_format="OpenVINO", with_batch_dim=False)
    assert list(declared.models) == ["a.onnx", "b.xml;c.xml"]
    assert one.model_format == "ONNX"
    assert (two.files, two.with_batch_dim) == (("b.xml", "c.xml"), False)
    assert register.declare_model("d.om").model_format is None


def test_input_zero_without_batch_dimension_is_input_zero() -> None:
    assert register.declare_model("a", without_batch_dim_inputs=0).without_batch_dim_inputs == (0,)
    assert register.declare_model("b", without_batch_dim_inputs=[2, 0]).without_batch_dim_inputs == (2, 0)
    assert register.declare_model("c").without_batch_dim_inputs == ()


@pytest.mark.parametrize("word", ["OM", "MindIR", "MindIR_Opt", "MindIR_Lite", "onnx", "OPENVINO", "torchscript"])
def test_formats(word: str) -> None:
    assert register.declare_model("a", word).model_format is not None


@pytest.mark.parametrize(
    ("change", "parameter"),
    [
        ({"model_file": ""}, "model_file"),
        ({"model_file": []}, "model_file"),
        ({"model_file": None}, "model_file"),
        ({"model_file": b"a"}, "model_file"),
        ({"model_file": ["a", ""]}, "model_file"),
        ({"model_file": ["a", 1]}, "model_file"),
        ({"model_file": ["a", "a"]}, "model_file"),
        ({"model_format": "keras"}, "model_format"),
        ({"model_format": ""}, "model_format"),
        ({"model_format": 3}, "model_format"),
        ({"with_batch_dim": 1}, "with_batch_dim"),
        ({"with_batch_dim": None}, "with_batch_dim"),
        ({"without_batch_dim_inputs": "0"}, "without_batch_dim_inputs"),
        ({"without_batch_dim_inputs": -1}, "without_batch_dim_inputs"),
        ({"without_batch_dim_inputs": True}, "without_batch_dim_inputs"),
        ({"without_batch_dim_inputs": (0, 0)}, "without_batch_dim_inputs"),
        ({"without_batch_dim_inputs": (0, 1.0)}, "without_batch_dim_inputs"),
        ({"context": "cpu"}, "context"),
        ({"options": "x"}, "options"),
        ({"config_file": ""}, "config_file"),
        ({"config_file": 1}, "config_file"),
        ({"backend": ""}, "backend"),
        ({"max_batch_size": 0}, "max_batch_size"),
        ({"max_batch_size": True}, "max_batch_size"),
        ({"max_queue_delay": -1}, "max_queue_delay"),
        ({"max_queue_delay": float("nan")}, "max_queue_delay"),
        ({"max_queue_delay": float("inf")}, "max_queue_delay"),
        ({"max_queue_delay": "1"}, "max_queue_delay"),
    ],
)
def test_bad_arguments(change: dict[str, Any], parameter: str, declared: Declarations) -> None:
    with pytest.raises(RuntimeError, match=f"'{parameter}"):
        register.declare_model(**({"model_file": "a.onnx"} | change))
    assert not declared.models


def test_a_file_belongs_to_one_model() -> None:
    register.declare_model(["a", "b"])
    with pytest.raises(RuntimeError, match=r"'model_file': 'b' is already the file of model 'a;b'"):
        register.declare_model(["c", "b"])


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


class Doubled:
    inputs = outputs = [{"name": "x", "dtype": "float32", "shape": [-1, 2]}]

    def execute(self, inputs: Any) -> Any:
        return [inputs[0] * 2]


def test_a_class_as_a_model(declared: Declarations) -> None:
    register.declare_model(["a.npy", "b.npy"], backend=Doubled)
    register.declare_model(backend=Doubled, model_format="python")
    register.declare_model([], backend=Doubled)
    register.declare_model(["c.onnx", "d.onnx"])
    assert list(declared.models) == ["a.npy;b.npy", "Doubled", "Doubled (2)", "c.onnx;d.onnx"]
    assert [model.subgraph_count for model in declared.models.values()] == [1, 1, 1, 2]
    assert [declared.model_callee(model, 0) for model in declared.models.values()] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"backend": Doubled()}, "'backend' should be the name of a backend, or a class"),
        ({"backend": 3}, "'backend' should be the name of a backend, or a class"),
        ({"backend": str}, r"'backend': the class str cannot run a model: it has no method execute\(self, inputs\); "),
        ({"backend": Doubled, "model_format": "ONNX"}, "'model_format' is 'ONNX', but 'backend' is a class"),
        ({"model_format": "Python"}, "'model_format' is 'Python', but 'backend' is no class"),
        ({"backend": Doubled, "model_file": ""}, "'model_file'"),
    ],
)
def test_a_class_that_is_none(change: dict[str, Any], text: str, declared: Declarations) -> None:
    with pytest.raises(RuntimeError, match=text):
        register.declare_model(**({"model_file": "a.onnx"} | change))
    assert not declared.models
