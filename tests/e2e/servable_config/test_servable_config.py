"""What servable_config.py may declare, and the deprecated names of `register`.

The constructors and decorators are tested in tests/python/servable; here is what needs loaded models or a server.
"""

from __future__ import annotations

import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from servoir import server
from servoir.servable import declarations
from servoir.servable.declarations import Declarations
from servoir.server import register
from support.foreign_client import ForeignClient
from support.models import staged_models
from support.servers import ServerProcess, Start

# ---- what the worker finds out when it loads


Refuse = Callable[..., str]


@pytest.fixture
def refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Refuse]:
    """refuse(text of servable_config.py, files of version 1): the text of the error of start_servables."""
    monkeypatch.chdir(tmp_path)

    def start(text: str, files: tuple[str, ...] = ("pairs.onnx",)) -> str:
        folder = tmp_path / "servable"
        folder.mkdir()
        if files:
            staged_models.make(tmp_path / "models")
            (folder / "1").mkdir()
        for file in files:
            (tmp_path / "models" / "1" / file).rename(folder / "1" / file)
        prelude = "from servoir.server import register\n"
        (folder / "servable_config.py").write_text(prelude + textwrap.dedent(text))
        with pytest.raises(RuntimeError) as error:
            server.start_servables(server.ServableStartConfig(str(tmp_path), "servable", device_ids=0))
        return str(error.value)

    yield start
    server.stop()


ONE_METHOD = """
@register.register_method("y")
def m(x):
    return x
"""


@pytest.mark.parametrize(
    ("text", "files", "words"),
    [
        ("register.declare_model('pairs.onnx')" + ONE_METHOD, (), ["no valid version directory", "servable"]),
        ("register.declare_model('other.onnx')" + ONE_METHOD, ("pairs.onnx",), ["'model_file'", "other.onnx"]),
        (
            "register.declare_model('pairs.onnx', config_file='none.json')" + ONE_METHOD,
            ("pairs.onnx",),
            ["'config_file'", "none.json", "pairs.onnx"],
        ),
        ("register.declare_model('pairs.onnx')", ("pairs.onnx",), ["no method", "register_method"]),
        (
            """
            model = register.declare_model("pairs.onnx")
            @register.register_method("y")
            def m(x):
                return register.add_stage(model, x, outputs_count=1)
            """,
            ("pairs.onnx",),
            ["'m'", "stage 1", "'pairs.onnx' has 2 inputs", "the stage has 1"],
        ),
        (
            """
            model = register.declare_model("pairs.onnx")
            @register.register_method("y")
            def m(x):
                y, _ = register.add_stage(model, x, x, outputs_count=2)
                return y
            """,
            ("pairs.onnx",),
            ["'m'", "stage 1", "'pairs.onnx' has 1 outputs", "the stage has 2"],
        ),
        (
            "register.declare_model(['pairs.onnx', 'fives.onnx'])" + ONE_METHOD,
            ("pairs.onnx", "fives.onnx"),
            ["pairs.onnx;fives.onnx", "subgraph 1 has the batch size 5, others have 2"],
        ),
        (
            "register.declare_model('scaled.onnx', without_batch_dim_inputs=2)" + ONE_METHOD,
            ("scaled.onnx",),
            ["'without_batch_dim_inputs'", "has 2", "2 inputs"],
        ),
    ],
    ids=[
        "no version directory",
        "no such file, of a model that no method uses",
        "no such config_file",
        "no method",
        "inputs of stage and model",
        "outputs of stage and model",
        "batch sizes of subgraphs",
        "an input that the model has not",
    ],
)
def test_the_start_fails_and_says(refuse: Refuse, text: str, files: tuple[str, ...], words: list[str]) -> None:
    error = refuse(text, files)
    for word in words:
        assert word in error, error


# ---- a server


@pytest.fixture(scope="module")
def staged(start_for_module: Start, servables: Path) -> ServerProcess:
    for name in ("staged", "legacy"):
        staged_models.make(servables / name)
    return start_for_module("staged", "legacy", device_ids=0)


@pytest.fixture(scope="module")
def client(stubs: Any, staged: ServerProcess) -> Iterator[ForeignClient]:
    with ForeignClient(stubs, staged.grpc) as client:
        yield client


def test_how_the_worker_imports_it(client: ForeignClient, servables: Path) -> None:
    (answer,) = client.call("staged", "module", {"x": np.int32(1)})
    assert answer == {
        "module": "staged.servable_config",
        "path": str(servables),
        "executable": sys.executable,
        "device": "0",
    }


def test_the_server_itself_never_imports_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "never_here").mkdir()
    text = "from servoir.server import register\n" + ONE_METHOD
    (tmp_path / "never_here" / "servable_config.py").write_text(text)
    try:
        server.start_servables(server.ServableStartConfig(str(tmp_path), "never_here"))
        assert not [name for name in sys.modules if name.startswith("never_here")]
        assert str(tmp_path) not in sys.path
    finally:
        server.stop()


@pytest.fixture
def declared() -> Declarations:
    return declarations.begin()


def test_a_models_batch_size_is_its_own(declared: Declarations) -> None:
    """add_stage checks `batch_size` and `tag` for models, too, but only the tag has a meaning there."""
    model = register.declare_model("net.onnx")

    @register.register_method("y")
    def method(x: Any) -> Any:
        x = register.add_stage(model, x, outputs_count=1, batch_size=7, tag="Net")
        return register.add_stage(model, x, outputs_count=1)

    assert [(stage.callee, stage.tag) for stage in declared.methods["method"].stages] == [(model, "Net"), (model, None)]
    with pytest.raises(RuntimeError, match="'batch_size' should be an int >= 0, but is -1"):

        @register.register_method("y")
        def other(x: Any) -> Any:
            return register.add_stage(model, x, outputs_count=1, batch_size=-1)


# ---- the deprecated names


def single(x: Any) -> Any:
    return x


def double(x: Any) -> Any:
    return x, x


def batched(instances: Any) -> Any:
    return instances


def stages_of(declared: Declarations, name: str) -> list[tuple[int, str | None]]:
    return [(stage.outputs, stage.tag) for stage in declared.methods[name].stages]


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("call_preprocess", lambda x: register.call_preprocess(single, x)),
        ("call_postprocess", lambda x: register.call_postprocess(single, x)),
        ("call_preprocess_pipeline", lambda x: register.call_preprocess_pipeline(batched, x)),
        ("call_postprocess_pipeline", lambda x: register.call_postprocess_pipeline(batched, x)),
        ("call_servable", register.call_servable),
    ],
)
def test_deprecated_calls_warn_where_they_stand(declared: Declarations, name: str, call: Any) -> None:
    register.declare_model("net.onnx")

    def method(x: Any) -> Any:
        return call(x)

    with pytest.warns(DeprecationWarning, match=f"'{name}' is deprecated .* add_stage") as caught:
        register.register_method("y")(method)
    assert [warning.filename for warning in caught] == [__file__]
    assert len(declared.methods["method"].stages) == 1


def test_deprecated_declarations_warn(declared: Declarations) -> None:
    with pytest.warns(DeprecationWarning, match="'AclOptions' is deprecated .* AscendDeviceInfo"):
        acl = register.AclOptions(output_type="FP16", input_format="NCHW")
    with pytest.warns(DeprecationWarning, match="'GpuOptions' is deprecated .* GPUDeviceInfo"):
        gpu = register.GpuOptions(precision_mode="fp16")
    with pytest.warns(DeprecationWarning, match="'declare_servable' is deprecated .* declare_model"):
        first = register.declare_servable("a.mindir", "MindIR", True, acl, (1,))
    second = register.declare_model("b.mindir", options=gpu)
    both = register.declare_model("c.mindir", options=gpu, context=register.Context(thread_num=3))
    assert list(declared.models) == ["a.mindir", "b.mindir", "c.mindir"]
    assert (first.model_format, first.without_batch_dim_inputs) == ("MindIR", (1,))
    assert first.context is not None
    assert second.context is not None
    assert both.context is not None
    assert first.context.settings_for("ascend") == {"output_type": "FP16", "input_format": "NCHW"}
    assert second.context.settings_for("gpu") == {"precision_mode": "fp16"}
    assert (both.context.thread_num, both.context.settings_for("gpu")) == (3, {}), "context wins"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: register.AclOptions(output_type="FP64"), "'output_type' should be one of FP32, FP16, UINT8"),
        (lambda: register.AclOptions(format="ND"), "AclOptions has no parameter 'format'; it has"),  # type: ignore[call-arg]
        (lambda: register.GpuOptions(precision_mode="int8"), "'precision_mode' should be one of origin, fp16"),
        (lambda: register.declare_servable(""), "'model_file' should be a str that is not empty"),
        (lambda: register.declare_model("a", options=register.CPUDeviceInfo()), "'options' should be None, or Acl"),
    ],
)
def test_bad_arguments_of_deprecated_declarations(declared: Declarations, make: Any, text: str) -> None:
    with pytest.raises(RuntimeError, match=text):
        make()
    assert not declared.models


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_number_of_outputs_is_that_of_the_names_before_the_call(declared: Declarations) -> None:
    model = register.declare_servable("net.onnx")

    @register.register_method(["y", "z"])
    def unpacked(x: Any) -> Any:
        a, b = register.call_preprocess(double, x)
        c, d, e = register.call_servable(a, b)
        f = register.call_preprocess_pipeline(batched, c)
        return register.add_stage(single, f, outputs_count=1), register.call_postprocess(single, d if x is None else e)

    @register.register_method(["y", "z"])
    def returned(x: Any) -> Any:
        return register.call_postprocess(double, x)

    def inner(x: Any) -> Any:
        return register.call_preprocess(double, x)

    @register.register_method(["y", "z"])
    def through_a_function(x: Any) -> Any:
        a, b = inner(x)
        del a, b
        return inner(x)

    assert stages_of(declared, "unpacked") == [
        (2, "Preprocess"),
        (3, None),
        (1, "Preprocess"),
        (1, None),
        (1, "Postprocess"),
    ]
    assert declared.methods["unpacked"].stages[1].callee is model
    assert declared.methods["unpacked"].stages[2].callee.batch_size == 0
    assert stages_of(declared, "returned") == [(2, "Postprocess")]
    assert stages_of(declared, "through_a_function") == [(2, "Preprocess")] * 2


def starred(x: Any) -> Any:
    a, *_ = register.call_preprocess(double, x)
    return a


def spread(x: Any) -> Any:
    return register.call_postprocess(double, *register.call_preprocess(double, x))


def without_model(x: Any) -> Any:
    return register.call_servable(x)


def wrong_inputs(x: Any) -> Any:
    return register.call_preprocess(double, x, x)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("method", "text"),
    [
        (starred, "call_preprocess in method 'starred': .* starred expression"),
        (spread, "starred expression"),
        (without_model, r"exactly one model .* there are 0 \(none\); use add_stage"),
        (wrong_inputs, r"'double' has 1 parameters, .* gives it 2 inputs"),
    ],
)
def test_bad_deprecated_calls(declared: Declarations, method: Any, text: str) -> None:
    with pytest.raises(RuntimeError, match=text):
        register.register_method("y")(method)
    assert not declared.methods


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_call_servable_needs_the_only_model(declared: Declarations) -> None:
    register.declare_servable("a.onnx")
    register.declare_servable("b.onnx")
    with pytest.raises(RuntimeError, match=r"there are 2 \('a.onnx', 'b.onnx'\)"):
        register.register_method("y")(without_model)
    with pytest.raises(RuntimeError, match="only inside a function that is decorated by register_method"):
        register.call_preprocess(single, 1)


def test_the_new_names_do_not_warn(declared: Declarations) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = register.declare_model("a.onnx")
        register.register_method("y")(lambda_named(lambda x: register.add_stage(model, x, outputs_count=1)))
    assert list(declared.methods) == ["m"]


def lambda_named(function: Any) -> Any:
    function.__name__ = "m"
    return function


def test_a_servable_with_the_old_names_is_served(client: ForeignClient) -> None:
    given = [{"x1": np.array([i, 2], np.int64), "x2": np.array([1, i], np.int64)} for i in range(5)]
    for method in ("add_cast", "add_pipelines"):
        answers = client.call("legacy", method, *given)
        for i, answer in enumerate(answers):
            assert (answer["y"].dtype, answer["y"].tolist()) == (np.int32, [i + 1, i + 2])
    assert all(1 <= int(answer["batch"]) <= 2 for answer in answers)
