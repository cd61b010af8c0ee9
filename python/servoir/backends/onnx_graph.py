"""What operators an ONNX file has, and on which types: read from the file itself, without any package.

Messages of onnx.proto are walked field by field; weights are passed over, not read. The types of tensors inside of a
graph are not in every file. They are told by the graph's inputs, its constants and the operators, as far as these say.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field

from servoir.backends.model_file import ModelFile
from servoir.protobuf_wire import fields, numbers

# Of TensorProto.DataType.
_TYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "str",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
}
# Operators whose results are not of the type of their first input.
_RESULTS = {
    **dict.fromkeys(("Shape", "Size", "NonZero", "ArgMax", "ArgMin"), "int64"),
    **dict.fromkeys(("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor", "Not"), "bool"),
    **dict.fromkeys(("IsNaN", "IsInf"), "bool"),
    **dict.fromkeys(("MatMulInteger", "ConvInteger"), "int32"),
    **dict.fromkeys(("RandomNormal", "RandomUniform", "ConstantOfShape", "EyeLike"), "float32"),
}
# Those whose results are of the type of another input.
_TYPED_BY = {"Where": 1, "OneHot": 2, "CastLike": 1, "QuantizeLinear": 2, "DequantizeLinear": 1}


@dataclass
class OnnxNode:
    operator: str  # with its domain before it where that is not ONNX's: "com.example.Scale"
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    to: str | None = None  # the type that it says: of a Cast, or of the value of a constant
    bodies: list[OnnxGraph] = field(default_factory=list)  # of If, Loop and Scan
    # Those that are a text, an integer or several integers; others are 0.
    attributes: dict[str, str | int | tuple[int, ...]] = field(default_factory=dict)


@dataclass
class OnnxGraph:
    nodes: list[OnnxNode] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)  # without those that have a value in the file
    outputs: list[str] = field(default_factory=list)
    types: dict[str, str] = field(default_factory=dict)  # of tensors, as far as they are known
    constants: set[str] = field(default_factory=set)  # tensors whose values are in the file


def read_graph(file: ModelFile) -> OnnxGraph | None:
    """None where the file is not what onnx.proto says; the backends will say what is wrong with it."""
    try:
        if file.content is not None:
            return _model(memoryview(file.content))
        with open(file.path, "rb") as opened:
            # Closed when the last view of it goes.
            return _model(memoryview(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)))
    except (ValueError, RecursionError, OSError):
        return None


def _model(content: memoryview) -> OnnxGraph | None:
    for number, value, _, _ in fields(content):
        if number == 7 and isinstance(value, memoryview):
            return _graph(value, OnnxGraph())
    return None


def _graph(content: memoryview, outer: OnnxGraph) -> OnnxGraph:
    graph = OnnxGraph(types=dict(outer.types), constants=set(outer.constants))
    nodes = []
    own = set()
    for number, value, _, _ in fields(content):
        if not isinstance(value, memoryview):
            continue
        if number == 1:
            nodes.append(value)
            continue  # after the types of what it uses are known
        if number == 5:
            name, kind = _tensor(value)
            own.add(name)
            _note(graph, name, kind)
        elif number in (11, 12, 13):
            name, kind = _value_info(value)
            _note(graph, name, kind)
            if number != 13:
                (graph.inputs if number == 11 else graph.outputs).append(name)
    graph.inputs = [name for name in graph.inputs if name not in own]
    graph.constants |= own
    for value in nodes:
        node = _node(value, graph)
        graph.nodes.append(node)
        if node.operator == "Constant":
            graph.constants.update(node.outputs)
        result = _result(node, graph.types)
        alike = node.outputs if node.operator in ("Split", "LSTM", "GRU") else node.outputs[:1]
        for name in alike:
            if result is not None and name:
                graph.types.setdefault(name, result)
    return graph


def _note(graph: OnnxGraph, name: str, kind: int) -> None:
    if kind in _TYPES:
        graph.types.setdefault(name, _TYPES[kind])


def _result(node: OnnxNode, types: dict[str, str]) -> str | None:
    """Of the first output."""
    if node.to is not None:
        return node.to
    if node.operator in _RESULTS:
        return _RESULTS[node.operator]
    index = _TYPED_BY.get(node.operator, 0)
    return types.get(node.inputs[index]) if index < len(node.inputs) else None


def _node(content: memoryview, graph: OnnxGraph) -> OnnxNode:
    node = OnnxNode("")
    domain = ""
    for number, value, _, _ in fields(content):
        if not isinstance(value, memoryview):
            continue
        if number == 1:
            node.inputs.append(_text(value))
        elif number == 2:
            node.outputs.append(_text(value))
        elif number == 4:
            node.operator = _text(value)
        elif number == 5:
            _attribute(value, node, graph)
        elif number == 7:
            domain = _text(value)
    if domain not in ("", "ai.onnx"):
        node.operator = f"{domain}.{node.operator}"
    return node


def _attribute(content: memoryview, node: OnnxNode, graph: OnnxGraph) -> None:
    name, kind, text = "", 0, ""
    several: list[int] = []
    graphs = []
    for number, value, _, _ in fields(content):
        if number == 8 and value is not None:
            several += [value] if isinstance(value, int) else numbers(value)
        if not isinstance(value, memoryview):
            kind = value if number == 3 and value is not None else kind
            continue
        if number == 1:
            name = _text(value)
        elif number == 4:
            text = _text(value)
        elif number == 5:
            _, of_tensor = _tensor(value)
            node.to = _TYPES.get(of_tensor, node.to)
        elif number in (6, 11):
            graphs.append(value)
    node.attributes[name] = text or tuple(map(_signed, several)) or _signed(kind)
    if name in ("to", "dtype"):
        node.to = _TYPES.get(kind, node.to)
    elif name in ("value_float", "value_floats"):
        node.to = "float32"
    elif name in ("value_int", "value_ints"):
        node.to = "int64"
    for body in graphs:
        node.bodies.append(_graph(body, graph))


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number


def _tensor(content: memoryview) -> tuple[str, int]:
    name, kind = "", 0
    for number, value, _, _ in fields(content):
        if not isinstance(value, memoryview):
            kind = value if number == 2 and value is not None else kind
            continue
        if number == 8:
            name = _text(value)
    return name, kind


def _value_info(content: memoryview) -> tuple[str, int]:
    """The name, and the type of the elements if it is a tensor."""
    name, kind = "", 0
    for number, value, _, _ in fields(content):
        if not isinstance(value, memoryview):
            continue
        if number == 1:
            name = _text(value)
        elif number == 2:
            for of_type, tensor, _, _ in fields(value):
                if of_type == 1 and isinstance(tensor, memoryview):
                    kind = next((n for f, n, _, _ in fields(tensor) if f == 1 and isinstance(n, int)), 0)
    return name, kind


def _text(value: memoryview) -> str:
    return str(value, "utf-8", "replace")
