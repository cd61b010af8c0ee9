"""add_stage: the outputs that it picks, and what it refuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from servoir.servable.declarations import Declarations, LoadedModel, SubgraphPorts
from servoir.server import register
from support.declared_methods import batched, define, lambda_named, loaded, one, port, two


def applied(stage: Any, **keywords: Any) -> Callable[..., Any]:
    def method(x: Any) -> Any:
        return register.add_stage(stage, x, **keywords)

    return method


def test_a_stage_picks_outputs_by_name(declared: Declarations) -> None:
    model = register.declare_model("net")

    def method(x: Any) -> Any:
        last = register.add_stage(model, x, outputs="o2")
        third, first = register.add_stage(model, last, outputs=["o2", "o0"])
        every = register.add_stage(model, first, outputs_count=3)
        return third, first, every[1]

    define(method, ["a", "b", "c"])
    (written,) = declared.spec("s", 1, {"net": loaded(1, 3)})["methods"]
    assert [(stage["inputs"], stage["first_output"], stage["outputs"]) for stage in written["stages"]] == [
        ([0], 1, 3),
        ([3], 4, 3),
        ([4], 7, 3),
    ]
    assert written["outputs"] == [6, 4, 8]
    assert written["values"] == 10


def test_outputs_that_a_model_has_not(declared: Declarations) -> None:
    model = register.declare_model("net")
    define(applied(model, outputs=["o1", "label"]), ["a", "b"])
    with pytest.raises(RuntimeError, match="Method 'method', stage 1: model 'net' has no output 'label'; it has 'o0'"):
        declared.spec("s", 1, {"net": loaded(1, 2)})


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"outputs_count": 2}, "has 1 outputs (outputs_count), but the stage has 2; its output 'p' has the type"),
        ({"outputs": ["o0", "p"]}, "stage 1: model 'net': its output 'p' has the type"),
        ({"outputs_count": 1}, None),
        ({"outputs": "o0"}, None),
    ],
)
def test_outputs_that_cannot_be_served(keywords: dict[str, Any], text: str | None, declared: Declarations) -> None:
    """The others are."""
    model = register.declare_model("net")
    define(applied(model, **keywords), [f"y{k}" for k in range(2 if text else 1)])
    ports = SubgraphPorts([port("i0")], [port("o0")], {"p": "has the type seq(map()), which cannot be served"})
    if text is None:
        declared.check_against({"net": LoadedModel([ports], 8)})
        return
    with pytest.raises(RuntimeError, match=re.escape(text)):
        declared.check_against({"net": LoadedModel([ports], 8)})


@pytest.mark.parametrize(
    ("keywords", "error", "text"),
    [
        ({"outputs": []}, RuntimeError, "'outputs' should not be empty"),
        ({"outputs": ["a", "a"]}, RuntimeError, "'outputs'"),
        ({"outputs": 0}, RuntimeError, "'outputs' should be a str"),
        (
            {"outputs": ["a"], "outputs_count": 2},
            RuntimeError,
            "'outputs_count' of add_stage is 2, but 'outputs' names 1",
        ),
        ({}, TypeError, "missing 1 required keyword-only argument: 'outputs_count'"),
    ],
)
def test_outputs_that_are_picked_wrongly(keywords: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        define(applied(register.declare_model("net"), **keywords))


def test_outputs_of_functions_have_no_names() -> None:
    with pytest.raises(RuntimeError, match="'outputs' of add_stage is for models"):
        define(applied(one, outputs="y"))


def stage_of(*args: Any, **keywords: Any) -> Callable[..., Any]:
    def method(x: Any) -> Any:
        return register.add_stage(*args, **keywords)

    return method


def test_add_stage_belongs_into_a_method() -> None:
    with pytest.raises(RuntimeError, match="register_method"):
        register.add_stage(one, outputs_count=1)


@pytest.mark.parametrize(
    ("keywords", "parameter"),
    [
        ({"outputs_count": 0}, "outputs_count"),
        ({"outputs_count": "1"}, "outputs_count"),
        ({"outputs_count": True}, "outputs_count"),
        ({"batch_size": -1}, "batch_size"),
        ({"batch_size": 1.0}, "batch_size"),
        ({"batch_size": True}, "batch_size"),
        ({"tag": ""}, "tag"),
        ({"tag": 5}, "tag"),
        ({"max_queue_delay": -0.1}, "max_queue_delay"),
        ({"rerun": 1}, "rerun"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": "1"}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
        ({"timeout": 1e9}, "timeout"),
        ({"stage": "cpp_function"}, "stage"),
        ({"stage": None}, "stage"),
        ({"stage": int}, "stage"),
        ({"stage": np.add}, "stage"),
    ],
)
def test_bad_arguments_of_add_stage(keywords: dict[str, Any], parameter: str, declared: Declarations) -> None:
    stage = keywords.pop("stage", one)

    def method(x: Any) -> Any:
        return register.add_stage(stage, x, **({"outputs_count": 1} | keywords))

    with pytest.raises(RuntimeError, match=f"'{parameter}'"):
        define(method)
    assert not declared.methods
    assert not declared.functions


@pytest.mark.parametrize("value", [np.zeros(3), 1, "x", None], ids=lambda value: type(value).__name__)
def test_inputs_of_a_stage_are_values_of_the_method(value: Any) -> None:
    with pytest.raises(RuntimeError, match=r"'args'.*argument 1"):
        define(stage_of(one, value, outputs_count=1))


def test_a_stage_needs_inputs() -> None:
    with pytest.raises(RuntimeError, match="'args'"):
        define(stage_of(lambda_named("nothing", lambda: 1), outputs_count=1))


def test_values_of_another_method_are_refused() -> None:
    kept: list[Any] = []

    def first(x: Any) -> Any:
        kept.append(x)
        return x

    define(first)
    with pytest.raises(RuntimeError, match="belongs to another method"):
        define(stage_of(one, kept[0], outputs_count=1))


def test_the_number_of_outputs_shows_as_pythons_own_error() -> None:
    def too_few(x: Any) -> Any:
        a, _b = register.add_stage(one, x, outputs_count=3)
        return a

    def none(x: Any) -> Any:
        a, _b = register.add_stage(one, x, outputs_count=1)
        return a

    with pytest.raises(ValueError, match=r"too many values to unpack \(expected 2"):
        define(too_few)
    with pytest.raises(TypeError, match="cannot unpack non-iterable"):
        define(none)


def test_the_parameters_of_a_function_are_the_inputs_of_its_stage() -> None:
    with pytest.raises(RuntimeError, match=r"'two' has 2 parameters, .* 1 inputs"):
        define(lambda_named("m", lambda x: register.add_stage(two, x, outputs_count=1)))
    with pytest.raises(RuntimeError, match=r"'two' has 2 parameters, .* batch_size=4"):
        define(lambda_named("m", lambda x: register.add_stage(two, x, outputs_count=1, batch_size=4)))


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        ({"outputs_count": 1}, {"outputs_count": 2}, "outputs"),
        ({"outputs_count": 1}, {"outputs_count": 1, "batch_size": 4}, "batch size"),
        ({"outputs_count": 1, "batch_size": 0}, {"outputs_count": 1}, "batch size"),
    ],
)
def test_the_stages_of_a_function_agree(first: dict[str, Any], second: dict[str, Any], what: str) -> None:
    define(lambda_named("m1", lambda x: register.add_stage(one, x, **first)))

    def method(x: Any) -> Any:
        return register.add_stage(one, x, **second)

    with pytest.raises(RuntimeError, match=f"'one' .* agree about {what}"):
        define(method)


def test_the_inputs_of_a_function_agree() -> None:
    def method(x: Any) -> Any:
        y = register.add_stage(batched, x, outputs_count=1, batch_size=4)
        return register.add_stage(batched, x, y, outputs_count=1, batch_size=4)

    with pytest.raises(RuntimeError, match=r"'batched' .* agree about inputs"):
        define(method)


def test_functions_are_known_by_their_names() -> None:
    define(lambda_named("m1", lambda x: register.add_stage(one, x, outputs_count=1)))
    another = lambda_named("one", lambda x, y: x)
    with pytest.raises(RuntimeError, match=r"'one' .* agree about inputs: first 1, now 2"):
        define(lambda_named("m2", lambda x: register.add_stage(another, x, x, outputs_count=1)))


def test_the_stages_of_a_model_agree_with_each_other_and_with_the_model(declared: Declarations) -> None:
    model = register.declare_model("net")

    def method(x: Any) -> Any:
        y = register.add_stage(model, x, outputs_count=1)
        return register.add_stage(model, x, y, outputs_count=1)

    with pytest.raises(RuntimeError, match=r"Model 'net' .* agree about inputs"):
        define(method)
    define(lambda_named("good", lambda x: register.add_stage(model, x, outputs_count=1)))
    declared.check_against({"net": loaded(1, 1)})
    with pytest.raises(RuntimeError, match=r"'good', stage 1: model 'net' has 2 inputs, but the stage has 1"):
        declared.check_against({"net": loaded(2, 1)})
    with pytest.raises(RuntimeError, match=r"model 'net' has 3 outputs"):
        declared.check_against({"net": loaded(1, 3)})
