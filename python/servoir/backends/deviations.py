"""What a backend computes otherwise than ONNX says, and which files that concerns.

The table is held by tests/python/backends/test_deviations.py, which runs operators with all types, and shown in
docs/backends.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from servoir.backends.onnx_graph import OnnxGraph, OnnxNode


@dataclass(frozen=True)
class Deviation:
    backend: str
    operators: tuple[str, ...]  # none: all that compute with values
    dtypes: tuple[str, ...]
    how: str  # what it does instead
    # Whether a file with it is better run by another backend. If not, results differ by rounding, or for NaN only.
    avoided: bool = True
    # Only values of the request matter, which get to an output or to one of `operators`: those inside of a model, such
    # as indices and lengths, are small.
    of_inputs: bool = False
    # Only of nodes that have one of these values of an attribute (None: that do not say it; 0: a list or a fraction).
    where: tuple[str, tuple[str | int | None, ...]] | None = None


_WIDE = ("int64", "uint32", "uint64")
_FLOATS = ("float16", "float32", "float64")
DEVIATIONS = (
    Deviation("openvino", ("Div", "BitShift"), ("int8", "uint8"), "rounds to the nearest instead of cutting off"),
    Deviation(
        "openvino",
        ("Add", "Sub", "Mul", "BitShift", "Einsum"),
        ("int8", "uint8"),
        "stays at the ends of the type where results should wrap around",
    ),
    Deviation("openvino", (), ("float64",), "computes in float32"),
    Deviation(
        "openvino",
        ("Mod", "Div", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot"),
        _WIDE,
        "computes in int32, so numbers beyond 32 bits, and beyond 31 of uint32, are others",
        of_inputs=True,
    ),
    Deviation(
        "openvino",
        ("QuantizeLinear",),
        ("float32",),
        "rounds halves away from 0 instead of to even numbers",
        avoided=False,
    ),
    Deviation(
        "openvino",
        ("Max", "Min", "Relu", "Clip", "ReduceMax", "ReduceMin"),
        ("float16", "float32"),
        "takes the other number, or a bound, where NaN should stay NaN",
        avoided=False,
    ),
    Deviation("opencv_dnn", ("Exp", "Tanh", "Sqrt"), ("float64",), "computes in float32"),
    Deviation("opencv_dnn", ("Cast",), ("bfloat16",), "takes the bits for whole numbers"),
    Deviation(
        "opencv_dnn", ("Mod",), _FLOATS, "takes numbers for whole ones where `fmod` is 0", where=("fmod", (0, None))
    ),
    Deviation(
        "opencv_dnn",
        ("LSTM", "GRU", "RNN"),
        _FLOATS,
        "gives other numbers where `direction` is reverse",
        where=("direction", ("reverse",)),
    ),
    Deviation(
        "opencv_dnn",
        ("MaxPool", "AveragePool"),
        _FLOATS,
        "places windows otherwise where `auto_pad` is SAME_LOWER",
        where=("auto_pad", ("SAME_LOWER",)),
    ),
    Deviation(
        "opencv_dnn",
        ("MaxPool", "AveragePool"),
        _FLOATS,
        "has further windows that begin in the padding where `ceil_mode` is 1",
        where=("ceil_mode", (1,)),
    ),
    Deviation(
        "opencv_dnn",
        ("ConvTranspose",),
        _FLOATS,
        "gives another shape where `auto_pad` is SAME_UPPER or SAME_LOWER",
        where=("auto_pad", ("SAME_UPPER", "SAME_LOWER")),
    ),
    Deviation(
        "opencv_dnn",
        ("Resize",),
        _FLOATS,
        "does not do `antialias`",
        where=("antialias", (1,)),
    ),
    Deviation(
        "opencv_dnn",
        ("Resize",),
        _FLOATS,
        "has other places where `coordinate_transformation_mode` is align_corners or half_pixel_symmetric",
        where=("coordinate_transformation_mode", ("align_corners", "half_pixel_symmetric")),
    ),
    Deviation(
        "opencv_dnn",
        ("Resize",),
        _FLOATS,
        "does not do `keep_aspect_ratio_policy`",
        where=("keep_aspect_ratio_policy", ("not_larger", "not_smaller")),
    ),
    Deviation(
        "opencv_dnn",
        ("GridSample",),
        _FLOATS,
        "gives other numbers where `mode` is cubic",
        where=("mode", ("cubic", "bicubic")),
    ),
    Deviation("opencv_dnn", ("Resize",), _FLOATS, "takes `axes` in ascending order", where=("axes", (0,))),
    Deviation(
        "opencv_dnn",
        ("Attention",),
        _FLOATS,
        "does not do windows, and gives other numbers for rows that are masked as a whole",
    ),
    Deviation("opencv_dnn", ("DFT",), _FLOATS, "gives other numbers for some axes"),
    Deviation("opencv_dnn", ("SpaceToDepth",), _FLOATS, "does not do `mode` CRD", where=("mode", ("CRD",))),
)
# These take values to other places, and results are as large as what they get.
_CARRY = {
    *("Identity", "Dropout", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Expand", "Tile"),
    *(
        "Concat",
        "Split",
        "Slice",
        "Pad",
        "Gather",
        "GatherElements",
        "GatherND",
        "Compress",
        "Where",
        "ReverseSequence",
    ),
    *("ScatterElements", "ScatterND", "Add", "Sub", "Mul", "Neg", "Abs", "Max", "Min", "Sum", "Clip", "Pow", "CumSum"),
    *("ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "TopK", "Unique", "Trilu", "DepthToSpace", "SpaceToDepth"),
}
_NO_COMPUTING = {"Cast", "CastLike", "Constant", "Identity", "Shape", "Size"}


def deviations_in(graph: OnnxGraph, backend: str) -> list[str]:
    """What the backend computes otherwise of this file, where that is a reason for another backend: in words."""
    found: dict[str, None] = {}
    for deviation in DEVIATIONS:
        if deviation.backend != backend or not deviation.avoided:
            continue
        places = _of_inputs(graph, deviation) if deviation.of_inputs else _operators(graph, deviation)
        for place in places:
            found.setdefault(f"{place} ({deviation.how})")
    return list(found)


def _operators(graph: OnnxGraph, deviation: Deviation) -> Iterator[str]:
    for node in graph.nodes:
        computes = node.operator not in _NO_COMPUTING
        if not _concerned(node, deviation):
            pass
        elif node.operator in deviation.operators or (not deviation.operators and computes):
            for name in node.inputs:
                if graph.types.get(name) in deviation.dtypes:
                    yield f"{node.operator} of {graph.types[name]}"
                    break
        for body in node.bodies:
            yield from _operators(body, deviation)


def _concerned(node: OnnxNode, deviation: Deviation) -> bool:
    """By its attributes."""
    if deviation.where is None:
        return True
    name, values = deviation.where
    return node.attributes.get(name) in values


def _of_inputs(graph: OnnxGraph, deviation: Deviation) -> Iterator[str]:
    """Follows the inputs' values through the operators that carry them on as they are, or nearly so."""
    types = graph.types
    carried = {name for name in graph.inputs if types.get(name) in deviation.dtypes}
    for node in graph.nodes:
        taken = [name for name in _values(node) if name in carried]
        if not taken:
            continue
        if node.operator in deviation.operators:
            yield f"{node.operator} of {types[taken[0]]}"
        if node.operator in _CARRY:
            carried.update(name for name in node.outputs if types.get(name) in deviation.dtypes)
    for name in graph.outputs:
        if name in carried:
            yield f"the output '{name}' of {types[name]}, made of an input"


def _values(node: OnnxNode) -> list[str]:
    """The inputs that are no indices, shapes and the like."""
    several = {"Concat", "Add", "Sub", "Mul", "Max", "Min", "Sum", "Div", "Mod"}
    if node.operator in several or node.operator.startswith("Bitwise"):
        return node.inputs
    if node.operator == "Where":
        return node.inputs[1:]
    if node.operator.startswith("Scatter"):
        return [*node.inputs[:1], *node.inputs[2:]]
    return node.inputs[:1]
