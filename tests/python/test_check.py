"""Numbers that are too large: the error names the parameter, the value and the range."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from servoir import check, client, settings
from servoir.client.future import InferFuture
from servoir.servable import declarations
from servoir.server import ServableStartConfig
from servoir.server.master import context
from servoir.server.register import Context, add_stage, declare_model, register_method
from servoir.settings import Number

HUGE = 10**18


def staged(**keywords: Any) -> None:
    declarations.begin()

    def function(x: Any) -> Any:
        return x

    def method(x: Any) -> Any:
        return add_stage(function, x, **({"outputs_count": 1} | keywords))

    register_method(output_names=["y"])(method)


def model(**keywords: Any) -> None:
    declarations.begin()
    declare_model("m.onnx", "ONNX", **keywords)


def config(**keywords: Any) -> None:
    ServableStartConfig(".", "s", **keywords)


def infer(**keywords: Any) -> None:
    client.Client("127.0.0.1:1", "s", "m").infer({"x": 1}, **keywords)


def infer_async(**keywords: Any) -> None:
    client.Client("127.0.0.1:1", "s", "m").infer_async({"x": 1}, **keywords)


CALLS: list[tuple[Callable[..., Any], str, str]] = [
    (context.set_max_enqueued_requests, "max_enqueued_requests", "1…1000000000"),
    (config, "device_ids", "0…65535"),
    (config, "num_parallel_workers", "0…64"),
    (staged, "outputs_count", "1…10000"),
    (staged, "batch_size", "0…1000000"),
    (staged, "max_queue_delay", "0…3600"),
    (model, "max_batch_size", "1…1000000"),
    (model, "max_queue_delay", "0…3600"),
    (model, "without_batch_dim_inputs", "0…10000"),
    (model, "without_batch_dim_outputs", "0…10000"),
    (Context, "thread_num", "1…1024"),
    (infer, "timeout", "0…31622400"),
    (infer_async, "timeout", "0…31622400"),
]


@pytest.mark.parametrize(("call", "parameter", "bounds"), CALLS, ids=lambda value: getattr(value, "__name__", value))
@pytest.mark.parametrize(
    ("value", "shown"), [(HUGE, str(HUGE)), (10**5000, "a number of 16610 bits")], ids=["digits", "bits"]
)
def test_too_large(call: Callable[..., Any], parameter: str, bounds: str, value: int, shown: str) -> None:
    with pytest.raises(RuntimeError, match=f"Parameter '{parameter}' should be an? [a-z]+ in {bounds}, but is {shown}"):
        call(**{parameter: value})


def test_too_large_in_a_list() -> None:
    with pytest.raises(RuntimeError, match=re.escape(f"'device_ids[1]' should be an int in 0…65535, but is {HUGE}")):
        config(device_ids=[0, HUGE])
    with pytest.raises(RuntimeError, match=re.escape("'thread_affinity_core_list[0]' should be an int in 0…65535")):
        Context(thread_affinity_core_list=[HUGE])


def test_a_number_too_long_to_print() -> None:
    with pytest.raises(RuntimeError, match="'n' should be an int >= 1, but is a negative number of 16610 bits"):
        check.integer("n", -(10**5000), 1)
    with pytest.raises(RuntimeError, match="'n' should be a str, but is a number of 16610 bits of type int"):
        check.text("n", 10**5000)


def test_what_waits_for_an_answer() -> None:
    future = InferFuture(call=None)
    with pytest.raises(RuntimeError, match=f"'timeout' should be a number in 0…31622400, but is {HUGE}"):
        future.result(timeout=HUGE)


NUMBERS = [setting for setting in settings.TABLE if isinstance(setting, Number)]


@pytest.mark.parametrize("setting", NUMBERS, ids=lambda setting: setting.variable or setting.predecessor)
@pytest.mark.parametrize("digits", [20, 5000])
def test_a_setting_too_large(setting: Number, digits: int) -> None:
    value, variable = "9" * digits, setting.variable or setting.predecessor
    most = setting.high if setting.ceiling is None else setting.ceiling
    with pytest.raises(setting.error, match=f"{variable} should be a number in {setting.low}…{most}, but is '{value}'"):
        setting.read({variable: value})
