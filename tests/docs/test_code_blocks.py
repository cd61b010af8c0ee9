"""What the pages show as code and as messages is so."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from servoir.servable import declarations
from support import ROOT

SERVABLES = ROOT / "docs" / "servables.md"
PROTOCOLS = ROOT / "docs" / "protocols.md"
PROTO = ROOT / "python" / "servoir" / "proto" / "ms_service.proto"


def test_the_configurations_of_the_servables_page_can_be_imported() -> None:
    declared = declarations.begin()
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", SERVABLES.read_text(), re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        exec(block, names)
    assert list(declared.models) == ["tensor_add.onnx", "encoder.onnx;decoder.onnx"]
    method, typed = declared.methods.values()
    assert (method.name, method.inputs, method.output_names, len(method.stages)) == ("add", ("x1", "x2"), ("y",), 2)
    assert (typed.name, typed.inputs, typed.input_dtypes) == ("even_ones", ("ids",), ("int64",))
    (result,) = names["to_float_all"]([(np.array([1, 2]),)])
    assert result.dtype == np.float32
    declarations.begin()


def test_the_messages_of_the_protocols_page_are_those_of_the_proto_file() -> None:
    blocks = re.findall(r"```\n(.*?)```", PROTOCOLS.read_text(), re.DOTALL)
    (block,) = (text for text in blocks if "PredictReply" in text)
    shown: dict[str, set[tuple[str, str, str]]] = {}
    message = ""
    for line in block.splitlines():
        head = re.match(r"[A-Z]\w+", line)
        message = head[0] if head else message
        fields = re.findall(r"(\w+) += (\d+) ((?:repeated )?(?:map<string, Tensor>|\w+))", line)
        shown.setdefault(message, set()).update(fields)
    proto = PROTO.read_text()
    assert sum(map(len, shown.values())) > 12
    for message, listed in shown.items():
        (body,) = re.findall(rf"^message {message} {{(.*?)^}}", proto, re.DOTALL | re.MULTILINE)
        there = {(n, k, t) for t, n, k in re.findall(r"((?:repeated )?(?:map<[^>]*>|\w+)) (\w+) = (\d+);", body)}
        assert listed <= there, message
        assert {name for name, _, _ in there - listed} <= {"output_buffers", "shm_data"}, message


def test_the_data_types_of_the_protocols_page_are_those_of_the_proto_file() -> None:
    shown = set(re.findall(r"\| (\d+) \| `(MS_\w+)`", PROTOCOLS.read_text()))
    there = {(number, name) for name, number in re.findall(r"(MS_\w+) = (\d+);", PROTO.read_text())}
    assert shown == there - {("0", "MS_UNKNOWN")}
