"""Values as clients and functions really have them: numbers of JSON, nothing found, whatever numpy can convert, and
exceptions that are the client's doing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from onnx import TensorProto, helper
from servoir.client import Client
from support.arrays import same
from support.foreign_client import ForeignClient, whole_error
from support.kinds import ONNX_BACKENDS
from support.models.onnx_models import save, tensor
from support.servers import ServerProcess, Start, keeping_its_workers

CONFIG = """
import numpy as np
from servoir import server
from servoir.server import register


def describe(x):
    return f"{{x.dtype}}{{list(x.shape)}} {{x.tolist()}}"


class Typed:
    outputs = [{{"name": "y", "dtype": "str", "shape": [-1]}}]

    def execute(self, inputs):
        return [np.array([describe(row) for row in inputs[0]], object)]


def typed(dtype):
    inputs = [{{"name": "x", "dtype": dtype, "shape": [-1, -1]}}]
    model = register.declare_model(backend=type("Typed" + dtype, (Typed,), {{"inputs": inputs}}))

    def take(x):
        return register.add_stage(model, x, outputs_count=1)

    take.__name__ = dtype
    register.register_method(output_names=["y"])(take)
    return model


models = {{dtype: typed(dtype) for dtype in {dtypes!r}}}


@register.register_method(output_names=["y"], input_dtypes={{"x": "float64"}})
def declared(x):
    return register.add_stage(describe, x, outputs_count=1)


@register.register_method(output_names=["y"])
def unknown(x):
    return register.add_stage(describe, x, outputs_count=1)


@register.register_method(output_names=["y"])
def several(x):
    a = register.add_stage(models["float32"], x, outputs_count=1)
    b = register.add_stage(models["int64"], x, outputs_count=1)
    return a


class Plus:
    inputs = outputs = [{{"name": "x", "dtype": "float32", "shape": [-1, -1, 4]}}]

    def execute(self, inputs):
        return [inputs[0] + 1]


def made(name):
    if name == "class":
        return register.declare_model(backend=Plus)
    return register.declare_model(f"{{name}}.onnx", backend=name)


def plus(name):
    model = made(name)

    def after_functions(x):
        return register.add_stage(keep, register.add_stage(model, x, outputs_count=1), outputs_count=1)

    def called_with(x):
        return model.call(x)

    def calling(x):
        return register.add_stage(called_with, x, outputs_count=1)

    called_with.__name__ = "called_with_" + name
    for method, kind in ((after_functions, "stage"), (calling, "call")):
        method.__name__ = f"{{kind}}_{{name}}"
        register.register_method(output_names=["y"])(method)


def keep(x):
    return x


for name in {backends!r}:
    plus(name)


def nothing(shape):
    return np.zeros(shape, np.float32)


@register.register_method(output_names=["y"])
def empty(shape):
    return register.add_stage(nothing, shape, outputs_count=1)


@register.register_method(output_names=["y"])
def kept(x):
    return register.add_stage(keep, x, outputs_count=1)


class Converted:
    def __array__(self, dtype=None, copy=None):
        return np.array([1.5, 2], np.float32)


def convertible(x):
    return b"bytes", "text", [3, 3], "{{}}", [[1, 2.5]], range(3), ["a", "bc"], Converted(), [True, False]


@register.register_method(output_names=list("abcdefghi"))
def converted(x):
    return register.add_stage(convertible, x, outputs_count=9)


def inconvertible(what):
    return {{"ragged": [[1], [1, 2]], "set": {{1, 2}}, "none": [None], "complex": [1j]}}[what], 1


@register.register_method(output_names=["y", "z"])
def refused(what):
    return register.add_stage(inconvertible, what, outputs_count=2)


def as_python(x):
    return f"{{int(x)}} {{float(x)}} {{bool(x)}} {{x.shape}}"


@register.register_method(output_names=["y"])
def number(x):
    return register.add_stage(as_python, x, outputs_count=1)


class NoPicture(server.InvalidArgument):
    pass


def raise_if_asked(what):
    if what == "NoPicture":
        raise NoPicture("no PNG")
    if what == "ValueError":
        raise ValueError("a slip")
    if what != "good":
        raise getattr(server, what)("the text")
    return what


def raise_for_all(instances):
    return [raise_if_asked(what) for (what,) in instances]


def raise_in_turn(instances):
    for (what,) in instances:
        yield raise_if_asked(what)


@register.register_method(output_names=["y"])
def single(x):
    return register.add_stage(raise_if_asked, x, outputs_count=1)


@register.register_method(output_names=["y"])
def batch(x):
    return register.add_stage(raise_for_all, x, outputs_count=1, batch_size=8)


@register.register_method(output_names=["y"])
def generator(x):
    return register.add_stage(raise_in_turn, x, outputs_count=1, batch_size=8)
"""
DTYPES = ("bool", "int8", "uint8", "int32", "int64", "uint64", "float16", "float32", "float64")
MODELS = [*ONNX_BACKENDS, "class"]
Post = Callable[[str, str], tuple[int, Any]]


def write_servable(directory: Path) -> Path:
    version = directory / "reports" / "1"
    version.mkdir(parents=True)
    one = helper.make_node("Constant", [], ["one"], value=helper.make_tensor("v", TensorProto.FLOAT, [], [1.0]))
    for backend in ONNX_BACKENDS:
        save(
            version / f"{backend}.onnx",
            [one, helper.make_node("Add", ["x", "one"], ["y"])],
            [tensor("x", "float32", ["N", "M", 4])],
            [tensor("y", "float32", ["N", "M", 4])],
        )
    config = CONFIG.format(dtypes=DTYPES, backends=MODELS)
    (directory / "reports" / "servable_config.py").write_text(config)
    return directory


@pytest.fixture(scope="module")
def server(start_for_module: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = start_for_module("reports", directory=write_servable(tmp_path_factory.mktemp("reports")), device_ids=0)
    with keeping_its_workers(server):
        yield server


def posting(server: ServerProcess) -> Post:
    def post(method: str, x: str) -> tuple[int, Any]:
        body = f'{{"instances": [{{"x": {x}}}]}}'
        answer = requests.post(f"http://{server.rest}/model/reports:{method}", data=body, timeout=30)
        return answer.status_code, answer.json()

    return post


@pytest.fixture(scope="module")
def post(server: ServerProcess) -> Post:
    """(status, JSON) of a method that is sent this JSON as its input x."""
    return posting(server)


# ---- JSON numbers have no type of their own


@pytest.mark.parametrize(
    ("dtype", "x", "taken"),
    [
        ("bool", "[0, 1, true, 1.0]", "[False, True, True, True]"),
        ("int8", "[-128, 127, 1.0]", "[-128, 127, 1]"),
        ("uint8", "[0, 255, 7.0]", "[0, 255, 7]"),
        ("int32", "[1, 2.0, 3e0]", "[1, 2, 3]"),
        ("int64", "[9007199254740993, 2.0]", "[9007199254740993, 2]"),
        ("uint64", "[18446744073709551615]", "[18446744073709551615]"),
        ("float16", "[1, 2.5, 3]", "[1.0, 2.5, 3.0]"),
        ("float32", "[1, 2.5, 3]", "[1.0, 2.5, 3.0]"),
        ("float32", "[1, 2, 3]", "[1.0, 2.0, 3.0]"),
        ("float64", "[1, 0.1]", "[1.0, 0.1]"),
        ("int64", "[]", "[]"),
    ],
)
def test_numbers_are_taken_for_the_type_of_the_models_input(post: Post, dtype: str, x: str, taken: str) -> None:
    count = 0 if taken == "[]" else taken.count(",") + 1
    assert post(dtype, x) == (200, {"instances": [{"y": f"{dtype}[{count}] {taken}"}]})


@pytest.mark.parametrize(
    ("method", "x", "text"),
    [
        ("int64", "[1, 1.5]", "instance 0, input 'x': the number 1.5 at [1] does not fit int64"),
        ("uint8", "[256]", "the number 256 at [0] does not fit uint8"),
        ("bool", "[0, 2]", "the number 2 at [1] does not fit bool"),
        ("float32", "[1, 16777217]", "the number 16777217 at [1] does not fit float32"),
        ("float16", "[1e5]", "at [0] does not fit float16"),
        ("float32", "[1, true]", "a bool at [1] is no float32"),
        ("declared", "[[1, 2], [3, false]]", "a bool at [1, 1] is no float64"),
        ("unknown", "[1, 16777217, 0.5]", "the number 16777217 at [1] does not fit float32"),
        ("unknown", "[1, 2147483648]", "the number 2147483648 at [1] does not fit int32"),
        ("float32", "[1, NaN]", "NaN at instances[0].x[1]"),
        ("unknown", "[[-Infinity]]", "-Infinity at instances[0].x[0][0]"),
    ],
)
def test_numbers_that_do_not_fit_are_refused_with_their_place(post: Post, method: str, x: str, text: str) -> None:
    status, answer = post(method, x)
    assert status == 400
    assert text in answer["error_msg"]


def test_a_declared_type_is_for_inputs_that_go_to_functions(post: Post) -> None:
    assert post("declared", "[1, 2]") == (200, {"instances": [{"y": "float64[2] [1.0, 2.0]"}]})


@pytest.mark.parametrize(
    ("x", "taken"),
    [
        ("[1, 2]", "int32[2] [1, 2]"),
        ("[1, 2.5, 3]", "float32[3] [1.0, 2.5, 3.0]"),
        ("[2.5, 1]", "float32[2] [2.5, 1.0]"),
        ("[[1], [0.5]]", "float32[2, 1] [[1.0], [0.5]]"),
        ("[]", "float32[0] []"),
        ("[[], []]", "float32[2, 0] [[], []]"),
    ],
)
def test_numbers_for_an_input_without_a_type(post: Post, x: str, taken: str) -> None:
    assert post("unknown", x) == (200, {"instances": [{"y": taken}]})


def test_models_of_different_types_leave_an_input_without_one(post: Post) -> None:
    status, answer = post("several", "[1, 2]")
    assert status == 400
    assert "given int32 [2]" in answer["error_msg"]


def test_nonfinite_numbers_are_taken_where_asked_for(
    start: Start, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    del tmp_path
    directory = write_servable(tmp_path_factory.mktemp("nonfinite"))
    post = posting(start("reports", directory=directory, device_ids=0, env={"SERVOIR_JSON_NAN": "1"}))
    for method in ("float16", "float32", "float64", "unknown", "declared"):
        status, answer = post(method, "[NaN, 1, Infinity, -Infinity]")
        assert status == 200
        assert answer["instances"][0]["y"].endswith("[4] [nan, 1.0, inf, -inf]")
    status, answer = post("int64", "[1, NaN]")
    assert (status, "the number NaN at [1] does not fit int64" in answer["error_msg"]) == (400, True)


# ---- nothing found is an answer


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", ["stage", "call"])
def test_models_take_and_give_nothing(server: ServerProcess, post: Post, kind: str, name: str) -> None:
    with Client(server.grpc, "reports", f"{kind}_{name}") as client:
        nothing = np.zeros((0, 4), np.float32)
        some = np.full((2, 4), 0.5, np.float32)
        for given in ([nothing], [nothing, nothing, nothing], [nothing, some, nothing]):
            answers = client.infer([{"x": x} for x in given])
            for x, answer in zip(given, answers, strict=True):
                assert same(answer["y"], x + 1)
    sent = '{"b64": "", "type": "float32", "shape": [0, 4]}'
    assert post(f"{kind}_{name}", sent) == (200, {"instances": [{"y": []}]})
    if kind == "stage":
        assert post(f"{kind}_{name}", "[]") == (200, {"instances": [{"y": []}]})


@pytest.mark.parametrize("shape", [(0, 4), (1, 0, 4), (0, 0), (2, 0), (0,), (3, 0, 2, 0)])
def test_functions_take_and_give_nothing(
    server: ServerProcess, foreign: ForeignClient, post: Post, shape: tuple[int, ...]
) -> None:
    nothing = np.zeros(shape, np.float32)
    (answer,) = foreign.call("reports", "empty", {"shape": np.array(shape)})
    assert same(answer["y"], nothing)
    for value in (nothing, nothing.astype(np.int8)):
        (answer,) = foreign.call("reports", "kept", {"x": value})
        assert same(answer["y"], value)
        with Client(server.grpc, "reports", "kept") as client:
            assert same(client.infer({"x": value})[0]["y"], value)
    sent = f'{{"b64": "", "type": "float32", "shape": {list(shape)}}}'
    assert post("kept", sent) == (200, {"instances": [{"y": nothing.tolist()}]})


@pytest.mark.parametrize("shape", [(0, 2), (1, 0, 2)])
def test_no_texts_in_any_dimension(foreign: ForeignClient, shape: tuple[int, ...]) -> None:
    (answer,) = foreign.call("reports", "kept", {"x": np.zeros(shape, "U1")})
    assert answer["y"].shape == shape
    assert answer["y"].dtype.kind == "U"


# ---- values as the predecessor took them


def test_what_numpy_converts_is_a_value(foreign: ForeignClient) -> None:
    (answer,) = foreign.call("reports", "converted", {"x": np.int32(1)})
    assert answer["a"] == b"bytes"
    assert answer["b"] == "text"
    assert same(answer["c"], np.array([3, 3]))
    assert answer["d"] == "{}"
    assert same(answer["e"], np.array([[1, 2.5]]))
    assert same(answer["f"], np.arange(3))
    assert same(answer["g"], np.array(["a", "bc"]))
    assert same(answer["h"], np.array([1.5, 2], np.float32))
    assert same(answer["i"], np.array([True, False]))


@pytest.mark.parametrize(
    ("what", "texts"),
    [
        ("ragged", ["numpy makes no array of a value of type list", "inhomogeneous"]),
        ("set", ["a value of type set", "array of objects"]),
        ("none", ["a value of type list", "array of objects"]),
        ("complex", ["complex128"]),
    ],
)
def test_what_numpy_makes_objects_of_is_refused(foreign: ForeignClient, what: str, texts: list[str]) -> None:
    error = whole_error(foreign.reply("reports", "refused", [{"what": what}]))
    for text in texts:
        assert text in error


@pytest.mark.parametrize("x", [3, -2, 2.5, True])
def test_numbers_of_clients_are_numbers(server: ServerProcess, post: Post, x: float) -> None:
    """One shape over gRPC and REST, from which Python makes its numbers."""
    expected = f"{int(x)} {float(x)} {bool(x)} ()"
    with Client(server.grpc, "reports", "number") as client:
        assert client.infer([{"x": x}, {"x": x}]) == [{"y": expected}] * 2
    assert post("number", str(x).lower()) == (200, {"instances": [{"y": expected}]})


# ---- exceptions that choose their status


STATUSES = {
    "InvalidArgument": (400, 2),
    "NoPicture": (400, 2),
    "PermissionDenied": (403, 1),
    "NotFound": (404, 5),
    "ResourceExhausted": (429, 3),
    "ValueError": (500, 1),
    "Unimplemented": (501, 1),
    "Unavailable": (503, 4),
}


@pytest.mark.parametrize("method", ["single", "batch", "generator"])
@pytest.mark.parametrize("name", STATUSES)
def test_an_exception_chooses_the_status(foreign: ForeignClient, post: Post, method: str, name: str) -> None:
    text = {"NoPicture": "NoPicture: no PNG", "ValueError": "ValueError: a slip"}.get(name, "the text")
    status, code = STATUSES[name]
    got, answer = post(method, f'"{name}"')
    assert got == status
    assert answer["error_msg"].endswith(f": {text}")
    reply = foreign.reply("reports", method, [{"x": name}])
    (error,) = reply.error_msg
    assert error.error_code == code
    assert error.error_msg.decode().endswith(f": {text}")


@pytest.mark.parametrize("method", ["single", "batch", "generator"])
def test_each_instance_of_a_batch_has_its_own_status(foreign: ForeignClient, method: str) -> None:
    names = ["good", "NotFound", "good", "InvalidArgument", "ValueError", "good", "Unavailable", "good"]
    reply = foreign.reply("reports", method, [{"x": name} for name in names])
    codes = [error.error_code for error in reply.error_msg]
    assert codes == [0 if name == "good" else STATUSES[name][1] for name in names]
    answers = foreign.outputs(reply, len(names))
    assert [answer.get("y") for answer in answers] == [name if name == "good" else None for name in names]


def test_the_gravest_status_is_that_of_the_answer(server: ServerProcess) -> None:
    url = f"http://{server.rest}/model/reports:batch"
    for names, status in ((["NotFound", "good"], 200), (["NotFound", "Unavailable"], 503)):
        body = {"instances": [{"x": name} for name in names]}
        assert requests.post(url, json=body, timeout=30).status_code == status
