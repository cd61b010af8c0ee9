"""What a backend computes otherwise than ONNX says, and which files that concerns.

The table is held by tests/python/backends/test_deviations.py, which runs operators with all types, and shown in
docs/backends.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from servoir.backends.onnx_graph import OnnxGraph, OnnxNode


@dataclass(frozen=True)
class Deviation:
    backend: str
    operators: tuple[str, ...]  # none: all that compute with values
    dtypes: tuple[str, ...]  # of an input of the operator
    how: str  # what it does instead
    # Whether a file with it is better run by another backend. If not, results differ by rounding, or for values that
    # few files have: NaN, infinity, equal ones.
    avoided: bool = True
    # Only values of the request matter, which get to an output or to one of `operators`: those inside of a model, such
    # as indices and lengths, are small.
    of_inputs: bool = False
    # Only of nodes that have one of these values of an attribute.
    where: tuple[str, tuple[str | int, ...]] | None = None
    # Only of nodes for which this is true.
    only: Callable[[OnnxNode, OnnxGraph], bool] | None = None


def _values_of(node: OnnxNode, attribute: str) -> tuple[int, ...]:
    found = node.attributes.get(attribute)
    return found if isinstance(found, tuple) else ()


def _repeats_are_computed(node: OnnxNode, graph: OnnxGraph) -> bool:
    return len(node.inputs) > 1 and node.inputs[1] not in graph.constants


def _steps_over_its_end(node: OnnxNode, graph: OnnxGraph) -> bool:
    del graph
    pairs = zip(_values_of(node, "strides"), _values_of(node, "kernel_shape"), strict=False)
    return node.attributes.get("ceil_mode") == 1 and any(stride > size for stride, size in pairs)


def _axes_are_not_ascending(node: OnnxNode, graph: OnnxGraph) -> bool:
    del graph
    axes = _values_of(node, "axes")
    return list(axes) != sorted(axes)


def _makes_float64(node: OnnxNode, graph: OnnxGraph) -> bool:
    wanted = graph.types.get(node.inputs[1]) if node.operator == "CastLike" and len(node.inputs) > 1 else node.to
    return wanted == "float64"


def _has_third_input(node: OnnxNode, graph: OnnxGraph) -> bool:
    del graph
    return len(node.inputs) > 2 and node.inputs[2] != ""


_SIGNED = ("int8", "int16", "int32", "int64")
_INTEGERS = (*_SIGNED, "uint8", "uint16", "uint32", "uint64")
_WIDE = ("int64", "uint32", "uint64")
_FLOATS = ("float16", "float32", "float64")
_ALL_FLOATS = ("bfloat16", *_FLOATS)
_PROPORTIONS = ("not_larger", "not_smaller")
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
        ("BitShift",),
        _SIGNED,
        "gives other numbers for negative numbers, and for shifts by as many bits as the type has or more",
    ),
    Deviation(
        "openvino",
        ("Cast", "CastLike"),
        (*_INTEGERS, *_FLOATS),
        "gives numbers of float32 where float64 is wanted",
        only=_makes_float64,
    ),
    Deviation(
        "openvino",
        ("Cast", "CastLike"),
        _FLOATS,
        "takes infinity in float64 for the largest float32, NaN for false, and has no integers beyond 32 bits",
        avoided=False,
    ),
    Deviation("openvino", (), ("bfloat16",), "cuts off where it should round", avoided=False),
    Deviation(
        "openvino",
        ("QuantizeLinear", "DynamicQuantizeLinear"),
        ("float16", "float32"),
        "rounds halves away from 0 instead of to even numbers, and multiplies where it should divide",
        avoided=False,
    ),
    Deviation(
        "openvino",
        ("Max", "Min", "Relu", "Clip", "ReduceMax", "ReduceMin"),
        ("float16", "float32"),
        "takes the other number, or a bound, where NaN should stay NaN, and the largest number for infinity",
        avoided=False,
    ),
    Deviation(
        "openvino",
        ("Tile",),
        (*_INTEGERS, *_ALL_FLOATS, "bool"),
        "gives what is in memory by chance where the repeats are computed, and are more than 1 for three dimensions",
        only=_repeats_are_computed,
    ),
    Deviation(
        "openvino",
        ("Attention",),
        _ALL_FLOATS,
        "does not do windows, and gives other numbers where `is_causal` is 1 and there is a past",
    ),
    Deviation(
        "openvino",
        ("LSTM", "GRU", "RNN"),
        _FLOATS,
        "takes the first dimension for time where `layout` is 1",
        where=("layout", (1,)),
    ),
    Deviation(
        "openvino",
        ("MaxPool",),
        _FLOATS,
        "has further windows beyond the end where `ceil_mode` is 1 and a stride is larger than the kernel",
        only=_steps_over_its_end,
    ),
    Deviation("openvino", ("DFT",), _FLOATS, "gives another shape where `onesided` is 1", where=("onesided", (1,))),
    Deviation("openvino", ("RoiAlign",), _FLOATS, "gives other numbers where `mode` is max", where=("mode", ("max",))),
    Deviation("openvino", ("SpaceToDepth",), _FLOATS, "does not do `mode` CRD", where=("mode", ("CRD",))),
    Deviation("openvino", ("Resize",), _FLOATS, "does not do `antialias`", where=("antialias", (1,))),
    Deviation("openvino", ("Resize",), _FLOATS, "does not do `exclude_outside`", where=("exclude_outside", (1,))),
    Deviation(
        "openvino",
        ("Resize",),
        _FLOATS,
        "does not do `keep_aspect_ratio_policy`",
        where=("keep_aspect_ratio_policy", _PROPORTIONS),
    ),
    *(
        Deviation(
            backend,
            ("Resize",),
            _FLOATS,
            "takes the last place for the corner where `coordinate_transformation_mode` is align_corners, also where"
            " scales give a fraction of a place",
            avoided=False,
            where=("coordinate_transformation_mode", ("align_corners",)),
        )
        for backend in ("openvino", "onnxruntime")
    ),
    Deviation(
        "openvino",
        ("NonMaxSuppression",),
        ("float32",),
        "drops a box whose overlap is the threshold exactly",
        avoided=False,
    ),
    Deviation(
        "openvino",
        ("TopK",),
        (*_INTEGERS, *_FLOATS),
        "gives equal numbers in another order than that of their places",
        avoided=False,
    ),
    Deviation(
        "onnxruntime",
        ("MaxUnpool",),
        _FLOATS,
        "counts places in `output_shape` where it is given",
        only=_has_third_input,
    ),
    Deviation(
        "onnxruntime",
        ("Attention",),
        _FLOATS,
        "has the lowest number for what is masked in the output `qk_matmul_output`, not minus infinity",
        avoided=False,
    ),
    Deviation("opencv_dnn", ("Exp", "Tanh", "Sqrt"), ("float64",), "computes in float32"),
    Deviation("opencv_dnn", ("Cast",), ("bfloat16",), "takes the bits for whole numbers"),
    Deviation(
        "opencv_dnn",
        ("ReduceSum", "ReduceMean", "ReduceL1", "ReduceL2", "ReduceSumSquare"),
        ("int64",),
        "computes in float64, so numbers beyond 53 bits are others",
        of_inputs=True,
    ),
    Deviation(
        "opencv_dnn",
        ("MaxPool",),
        _FLOATS,
        "counts places row by row where `storage_order` is 1",
        where=("storage_order", (1,)),
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
        where=("keep_aspect_ratio_policy", _PROPORTIONS),
    ),
    Deviation(
        "opencv_dnn",
        ("GridSample",),
        _FLOATS,
        "gives other numbers where `mode` is cubic",
        where=("mode", ("cubic", "bicubic")),
    ),
    Deviation("opencv_dnn", ("Resize",), _FLOATS, "takes `axes` in ascending order", only=_axes_are_not_ascending),
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
    found = {f"{place} ({one.how})": None for one, place in all_in(graph, backend) if one.avoided}
    return list(found)


def all_in(graph: OnnxGraph, backend: str) -> Iterator[tuple[Deviation, str]]:
    """All that the table says of this file, each with the place, in words."""
    for one in DEVIATIONS:
        if one.backend == backend:
            for place in _of_inputs(graph, one) if one.of_inputs else _operators(graph, one):
                yield one, place


def _operators(graph: OnnxGraph, deviation: Deviation) -> Iterator[str]:
    for node in graph.nodes:
        computes = node.operator not in _NO_COMPUTING
        if not _concerned(node, graph, deviation):
            pass
        elif node.operator in deviation.operators or (not deviation.operators and computes):
            for name in node.inputs:
                if graph.types.get(name) in deviation.dtypes:
                    yield f"{node.operator} of {graph.types[name]}"
                    break
        for body in node.bodies:
            yield from _operators(body, deviation)


def _concerned(node: OnnxNode, graph: OnnxGraph, deviation: Deviation) -> bool:
    """By its attributes, and its other inputs."""
    if deviation.only is not None and not deviation.only(node, graph):
        return False
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
