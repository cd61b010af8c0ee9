"""The messages of the control socket: there and back, and what is wrong with others."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from servoir.control import messages
from servoir.control.messages import Exit, Failed, Hello, Leaving, Load, Message, Opening, Ready, Trying
from servoir.errors import ControlError
from servoir.servable.spec import ServableSpec

SPEC: ServableSpec = {"name": "add", "version": 2, "callees": [], "methods": []}
LOAD = Load(
    servable_directory="/models",
    name="add",
    version=2,
    device_id=None,
    device_type="cpu",
    loads_models=True,
    usable_cores=1.5,
    sharing_workers=1,
    threads=4,
    spec=SPEC,
    dec_key=bytes(range(16)),
    dec_mode="AES-GCM",
)
ALL: list[Message] = [
    Hello("1.0", 3, 4711),
    LOAD,
    replace(LOAD, device_id=0, device_type=None, usable_cores=2, threads=None, spec=None, dec_key=None),
    replace(LOAD, untried=("a.onnx", "b.onnx;c.onnx")),
    Opening("a.onnx"),
    Opening(None),
    Trying("a.onnx"),
    Trying(None),
    Ready(SPEC, (0, 2), (), 4, ("onnxruntime 1.2",)),
    Ready(None, (), (1,), None, ()),
    Failed("NameError: ä", ""),
    Leaving(15),
    Exit(),
]


@pytest.mark.parametrize("message", ALL, ids=lambda message: message.kind)
def test_there_and_back(message: Message) -> None:
    body = message.to_json().encode()
    assert messages.from_json(body) == message
    assert json.loads(body)["type"] == type(message).__name__.lower()


def test_a_key_is_in_no_text() -> None:
    assert "dec_key" not in repr(LOAD)
    assert bytes(range(16)).hex() not in repr(LOAD)
    with pytest.raises(ControlError, match=r"'dec_key' .* is not hexadecimal") as caught:
        messages.from_json(json.dumps({**json.loads(LOAD.to_json()), "dec_key": "secret"}).encode())
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("message", "change", "text"),
    [
        (LOAD, {"version": "2"}, "the field 'version' .* 'load' should be of type int, but is '2' of type str"),
        (LOAD, {"version": None}, "'version' .* of type int, but is None"),
        (LOAD, {"version": True}, "'version' .* of type int, but is True of type bool"),
        (LOAD, {"version": 2.0}, "'version' .* of type int, but is 2.0 of type float"),
        (LOAD, {"device_id": "0"}, "'device_id' .* of type int, but is '0'"),
        (LOAD, {"loads_models": 1}, "'loads_models' .* of type bool, but is 1"),
        (LOAD, {"usable_cores": "1"}, "'usable_cores' .* of type float, but is '1'"),
        (LOAD, {"spec": []}, r"'spec' .* an object, but is \[\] of type list"),
        (LOAD, {"name": 1}, "'name' .* of type str, but is 1"),
        (Ready(None, (), (), None, ()), {"functions": 1}, "'functions' .* 'ready' should be a list, but is 1"),
        (Ready(None, (), (), None, ()), {"models": [0, "a"]}, r"'models\[1\]' .* of type int, but is 'a'"),
    ],
)
def test_a_wrong_field_is_named(message: Message, change: dict[str, Any], text: str) -> None:
    content = json.loads(message.to_json())
    assert set(change) <= set(content)
    with pytest.raises(ControlError, match=text):
        messages.from_json(json.dumps({**content, **change}).encode())


@pytest.mark.parametrize("message", ALL, ids=lambda message: message.kind)
def test_a_missing_field_is_named(message: Message) -> None:
    content = json.loads(message.to_json())
    for name in set(content) - {"type"}:
        without = {key: value for key, value in content.items() if key != name}
        with pytest.raises(ControlError, match=f"'{message.kind}' has no field '{name}'"):
            messages.from_json(json.dumps(without).encode())


def test_a_type_that_there_is_not() -> None:
    with pytest.raises(ControlError, match="unknown type 'stop'; it can be one of hello, load, opening, trying, ready"):
        messages.from_json(b'{"type": "stop"}')


def test_the_hello_of_another_version_is_understood() -> None:
    content = {**json.loads(Hello("9.9", 3, 1).to_json()), "colour": "green"}
    assert messages.from_json(json.dumps(content).encode()) == Hello("9.9", 3, 1)
