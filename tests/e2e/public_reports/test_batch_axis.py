"""No instance gets another's results: models whose first dimension is not the batch are refused at the start, outputs
without batch dimension are given whole, and outputs that are inputs are the request's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from onnx import TensorProto, helper
from servoir.client import Client
from support.kinds import ONNX_BACKENDS
from support.models.onnx_models import save, tensor
from support.servers import ServerProcess, Start

WIDTH = 40000  # of rows that ONNX Runtime writes in place
CONFIG = """
import numpy as np
from servoir.server import register


def port(name, *shape, dtype="float32"):
    return {{"name": name, "dtype": dtype, "shape": list(shape)}}


class Whole:
    inputs = [port("x", -1, 3)]
    outputs = [port("y", -1, 3), port("two", 2), port("one", 1), port("many", 64), port("single"),
               port("shape", 2, dtype="int64")]

    def execute(self, inputs):
        (x,) = inputs
        two, one, many = np.float32([10, 20]), np.float32([7]), np.arange(64, dtype=np.float32)
        return [x + 1, two, one, many, np.float32(3), np.array(x.shape)]


class Total:
    inputs, outputs = [port("x", 2, 3)], [port("c")]

    def execute(self, inputs):
        return [inputs[0].sum()]


class Passing:
    inputs, outputs = [port("x", -1, {width})], [port("z", -1, {width}), port("x", -1, {width})]

    def execute(self, inputs):
        return [inputs[0] * 2, inputs[0]]


class Fixed:
    inputs, outputs = [port("x", 4, {width})], [port("z", 4, {width}), port("y", 4, {width})]

    def execute(self, inputs):
        return [inputs[0] * 2, inputs[0]]


class Other:
    inputs, outputs = [port("x", -1, {width})], [port("z", -1, {width})]

    def execute(self, inputs):
        return [inputs[0] * 2]


def declare(file, of, **more):
    if {backend!r} == "class":
        return register.declare_model(backend=of, **more)
    return register.declare_model(file, backend={backend!r}, **more)


whole = declare("whole.onnx", Whole)
if {backend!r} == "opencv_dnn":  # not known to sum up to a single value
    total = register.declare_model(backend=Total, with_batch_dim=False)
else:
    total = declare("total.onnx", Total, with_batch_dim=False)
passing = declare("passing.onnx", Passing)
fixed = declare("fixed.onnx", Fixed)
other = declare("other.onnx", Other)


@register.register_method(output_names=["y", "two", "one", "many", "single", "shape"])
def with_constants(x):
    return register.add_stage(whole, x, outputs_count=6)


def called(x):
    return whole.call(x)[:5]


@register.register_method(output_names=["y", "two", "one", "many", "single"])
def called_with_constants(x):
    return register.add_stage(called, x, outputs_count=5)


def changed(y, two):
    two += y[:2]
    return two


@register.register_method(output_names=["two"])
def stage_after_a_constant(x):
    y, two, one, many, single, shape = register.add_stage(whole, x, outputs_count=6)
    return register.add_stage(changed, y, two, outputs_count=1)


@register.register_method(output_names=["c"])
def single_value(x):
    return register.add_stage(total, x, outputs_count=1)


@register.register_method(output_names=["z", "same"])
def with_input(x):
    return register.add_stage(passing, x, outputs_count=2)


@register.register_method(output_names=["z", "same"])
def with_input_in_a_fixed_batch(x):
    return register.add_stage(fixed, x, outputs_count=2)


@register.register_method(output_names=["z"])
def harmless(x):
    return register.add_stage(other, x, outputs_count=1)
"""
BACKENDS = [*ONNX_BACKENDS, "class"]
CONSTANTS = {"two": [10, 20], "one": [7], "many": list(range(64)), "single": 3}


def constant(name: str, values: Any) -> Any:
    array = np.asarray(values, np.float32)
    made = helper.make_tensor(name, TensorProto.FLOAT, array.shape, array.ravel().tolist())
    return helper.make_node("Constant", [], [name], value=made)


def write_models(version: Path) -> None:
    version.mkdir(parents=True)
    save(
        version / "whole.onnx",
        [
            *[constant(name, values) for name, values in CONSTANTS.items()],
            constant("increment", 1),
            helper.make_node("Add", ["x", "increment"], ["y"]),
            helper.make_node("Shape", ["x"], ["shape"]),
        ],
        [tensor("x", "float32", ["N", 3])],
        [
            tensor("y", "float32", ["N", 3]),
            *[tensor(name, "float32", np.shape(values)) for name, values in CONSTANTS.items()],
            tensor("shape", "int64", [2]),
        ],
    )
    sum_of_all = helper.make_node("ReduceSum", ["x"], ["c"], keepdims=0)
    save(version / "total.onnx", [sum_of_all], [tensor("x", "float32", [2, 3])], [tensor("c", "float32", [])])
    doubled = helper.make_node("Add", ["x", "x"], ["z"])
    x, z = (tensor(name, "float32", ["N", WIDTH]) for name in "xz")
    save(version / "passing.onnx", [doubled], [x], [z, x])
    save(version / "other.onnx", [doubled], [x], [z])
    x, y, z = (tensor(name, "float32", [4, WIDTH]) for name in "xyz")
    save(version / "fixed.onnx", [doubled, helper.make_node("Dropout", ["x"], ["y"])], [x], [z, y])


@pytest.fixture(scope="module", params=BACKENDS)
def server(request: pytest.FixtureRequest, start_for_module: Start, tmp_path_factory: Any) -> Iterator[ServerProcess]:
    directory = tmp_path_factory.mktemp("axis")
    write_models(directory / "axis" / "1")
    (directory / "axis" / "servable_config.py").write_text(CONFIG.format(backend=request.param, width=WIDTH))
    server: ServerProcess = start_for_module("axis", directory=directory, device_ids=0)
    workers = server.workers()
    yield server
    assert server.workers() == workers


@pytest.mark.parametrize("method", ["with_constants", "called_with_constants"])
def test_an_output_without_batch_dimension_is_given_whole_over_grpc(server: ServerProcess, method: str) -> None:
    with Client(server.grpc, "axis", method) as client:
        for rows in (1, 2, 3, 64, 100):
            given = [np.full(3, row, np.float32) for row in range(rows)]
            for x, answer in zip(given, client.infer([{"x": x} for x in given]), strict=True):
                assert answer["y"].tolist() == (x + 1).tolist()
                assert {name: np.asarray(answer[name]).tolist() for name in CONSTANTS} == CONSTANTS
                if "shape" in answer:
                    assert answer["shape"][1] == 3
                    assert 1 <= answer["shape"][0] <= rows


def test_an_output_without_batch_dimension_is_given_whole_over_rest(server: ServerProcess) -> None:
    for rows in (1, 2, 5):
        body = {"instances": [{"x": [row + 0.5] * 3} for row in range(rows)]}
        answer = requests.post(f"http://{server.rest}/model/axis:with_constants", data=json.dumps(body), timeout=30)
        for row, one in enumerate(answer.json()["instances"]):
            assert one.pop("shape")[1] == 3
            assert one == {"y": [row + 1.5] * 3, **CONSTANTS}


def test_each_instance_has_an_output_without_batch_dimension_of_its_own(server: ServerProcess) -> None:
    """A stage that changes its part changes no other's."""
    with Client(server.grpc, "axis", "stage_after_a_constant") as client:
        given = [np.full(3, row, np.float32) for row in range(20)]
        for x, answer in zip(given, client.infer([{"x": x} for x in given]), strict=True):
            assert answer["two"].tolist() == [11 + x[0], 21 + x[0]]


def test_an_output_without_dimensions(server: ServerProcess) -> None:
    with Client(server.grpc, "axis", "single_value") as client:
        given = [np.arange(6, dtype=np.float32).reshape(2, 3) * row for row in range(5)]
        for row, answer in enumerate(client.infer([{"x": x} for x in given])):
            assert np.shape(answer["c"]) == ()
            assert float(answer["c"]) == 15 * row
    body = {"instances": [{"x": [[0.5, 1.5, 2.5], [3.5, 4.5, 5.5]]}]}
    reply = requests.post(f"http://{server.rest}/model/axis:single_value", data=json.dumps(body), timeout=30)
    assert reply.json() == {"instances": [{"c": 18}]}


def test_an_output_that_is_an_input_is_the_requests_own(server: ServerProcess) -> None:
    """Many clients at a time, of two models whose results take the same memory."""

    def ask(number: int) -> None:
        x = np.full(WIDTH, number, np.float32)
        method = ["harmless", "with_input", "with_input_in_a_fixed_batch"][number % 3]
        with Client(server.grpc, "axis", method) as client:
            for _ in range(8):
                (answer,) = client.infer([{"x": x}])
                assert (answer["z"] == 2 * number).all()
                if method != "harmless":
                    assert (answer["same"] == number).all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(16)))


def test_an_output_that_is_an_input_over_rest(server: ServerProcess) -> None:
    x = np.arange(WIDTH, dtype=np.float32) + 0.5
    body = {"instances": [{"x": x.tolist()}]}
    answer = requests.post(f"http://{server.rest}/model/axis:with_input", data=json.dumps(body), timeout=60)
    (one,) = answer.json()["instances"]
    assert one["same"] == x.tolist()
    assert one["z"] == (2 * x).tolist()


REFUSED = """
import numpy as np
from servoir.server import register


class Softmax:
    inputs = outputs = [{{"name": "x", "dtype": "float32", "shape": [-1, 4]}}]

    def execute(self, inputs):
        e = np.exp(inputs[0])
        return [e / e.sum(0)]


if {backend!r} == "class":
    model = register.declare_model(backend=Softmax{more})
else:
    model = register.declare_model("model.onnx", backend={backend!r}{more})


@register.register_method(output_names=["y"])
def run(x):
    return register.add_stage(model, x, outputs_count=1)
"""


def write_refused(directory: Path, backend: str, more: str = "") -> None:
    (directory / "mixed" / "1").mkdir(parents=True)
    save(
        directory / "mixed" / "1" / "model.onnx",
        [helper.make_node("Transpose", ["x"], ["y"], perm=[1, 0])],
        [tensor("x", "float32", ["N", 4])],
        [tensor("y", "float32", [4, "N"])],
    )
    (directory / "mixed" / "servable_config.py").write_text(REFUSED.format(backend=backend, more=more))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_that_mixes_instances_is_refused_at_the_start(backend: str, start: Start, tmp_path: Path) -> None:
    write_refused(tmp_path, backend)
    with pytest.raises(AssertionError) as caught:
        start("mixed", directory=tmp_path)
    text = str(caught.value)
    if backend == "class":
        assert "model 'Softmax': output 0 ('x') depends on more than its own instance" in text
    else:
        assert "its shape is [4, ?] in the file, and [4, 3] and [4, 2] for batches of 3 and 2 instances" in text
    for remedy in ("with_batch_dim=False", "without_batch_dim_outputs", "trial=False"):
        assert remedy in text


DIVIDING = """
import os
import signal

from servoir.server import register


class Divide:
    inputs = [{{"name": name, "dtype": "int32", "shape": [-1, 3]}} for name in "ab"]
    outputs = [{{"name": "q", "dtype": "int32", "shape": [-1, 3]}}]

    def execute(self, inputs):
        a, b = inputs
        if (b == 0).any():
            os.kill(os.getpid(), signal.SIGFPE)
        return [a // b]


if {backend!r} == "class":
    model = register.declare_model(backend=Divide)
else:
    model = register.declare_model("divide.onnx", backend={backend!r})


@register.register_method(output_names=["q"])
def run(a, b):
    return register.add_stage(model, a, b, outputs_count=1)
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_that_its_trial_crashes_is_served(backend: str, start: Start, tmp_path: Path) -> None:
    """A division of integers by 0 ends the process in some runtimes: it is started again, without a trial."""
    (tmp_path / "divide" / "1").mkdir(parents=True)
    dims = ["N", 3]
    save(
        tmp_path / "divide" / "1" / "divide.onnx",
        [helper.make_node("Div", ["a", "b"], ["q"])],
        [tensor("a", "int32", dims), tensor("b", "int32", dims)],
        [tensor("q", "int32", dims)],
    )
    (tmp_path / "divide" / "servable_config.py").write_text(DIVIDING.format(backend=backend))
    server = start("divide", directory=tmp_path, device_ids=0)
    if backend == "class":
        assert "the trial of model 'Divide' with made-up values has ended worker" in server.log()
        assert "SIGFPE" in server.log()
    with Client(server.grpc, "divide", "run") as client:
        (answer,) = client.infer([{"a": np.array([6, 8, 9], np.int32), "b": np.array([1, 2, 3], np.int32)}])
        assert answer["q"].tolist() == [6, 4, 3]
    assert len(server.workers()) == 1


def test_it_is_served_without_batch_dimension_or_without_a_trial(start: Start, tmp_path: Path) -> None:
    write_refused(tmp_path / "one", "class", ", trial=False")
    server = start("mixed", directory=tmp_path / "one")
    assert "with trial=False it is not checked whether each output has a row for each instance" in server.log()
    with Client(server.grpc, "mixed", "run") as client:
        (answer,) = client.infer([{"x": np.zeros(4, np.float32)}])
        assert answer["y"].tolist() == [1, 1, 1, 1]
    if ONNX_BACKENDS:
        write_refused(tmp_path / "two", ONNX_BACKENDS[0], ", with_batch_dim=False")
        server = start("mixed", directory=tmp_path / "two")
        with Client(server.grpc, "mixed", "run") as client:
            x = np.arange(8, dtype=np.float32).reshape(2, 4)
            (answer,) = client.infer([{"x": x}])
            assert answer["y"].tolist() == x.T.tolist()
