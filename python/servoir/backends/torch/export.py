"""Programs of torch.export (.pt2), which say all of their inputs and outputs themselves."""

from __future__ import annotations

from typing import Any

import numpy as np

from servoir.backends.interface import Array
from servoir.backends.torch.program import Program
from servoir.backends.torch.types import name_of
from servoir.errors import BackendError
from servoir.servable.spec import DYNAMIC, Port

_NUMBERS = {"SymIntArgument": "int64", "SymFloatArgument": "float64", "SymBoolArgument": "bool"}


def open_program(torch: Any, source: Any, path: str) -> Program:
    exported = torch.export.load(source)
    module = exported.module()
    signature = exported.graph_signature
    values = {node.name: node.meta.get("val") for node in exported.graph.nodes}
    given = [spec.arg for spec in signature.input_specs if spec.kind.name == "USER_INPUT"]
    inputs: list[Port] = []
    scalars: list[bool] = []
    constants: list[Any] = []  # of each argument, None where it is an input
    is_input = []
    for argument in given:
        kind = type(argument).__name__
        is_input.append(kind != "ConstantArgument")
        constants.append(getattr(argument, "value", None))
        if kind in _NUMBERS:
            inputs.append({"name": argument.name, "dtype": _NUMBERS[kind], "shape": []})
            scalars.append(True)
        elif kind == "TensorArgument":
            inputs.append(_port(argument.name, values[argument.name], f"'{path}': the input '{argument.name}'"))
            scalars.append(False)
        elif kind != "ConstantArgument":
            raise BackendError(
                f"'{path}': the input '{argument.name}' is a {kind.removesuffix('Argument')}; only tensors and numbers"
                f" can be served"
            )
    if not inputs:
        raise BackendError(f"'{path}': the program takes no tensor, so there is nothing to batch")
    outputs, is_output = _outputs(torch, exported, values, path)
    pytree = torch.utils._pytree
    in_spec = exported.call_spec.in_spec
    changed = set(getattr(signature, "user_inputs_to_mutate", {}).values())
    keeps = bool(signature.buffers_to_mutate) or any(_writes(node.target) for node in exported.graph.nodes)

    def run(tensors: list[Any]) -> list[Any]:
        left = iter(tensors)
        flat = [next(left) if wanted else constant for wanted, constant in zip(is_input, constants, strict=True)]
        args, kwargs = pytree.tree_unflatten(flat, in_spec)
        leaves = pytree.tree_leaves(module(*args, **kwargs))
        return [leaf for leaf, wanted in zip(leaves, is_output, strict=True) if wanted]

    return Program(
        inputs,
        outputs,
        run,
        scalars,
        [keeps or port["name"] in changed for port in inputs],
        _trial(inputs),
        _batches(exported, values.get(inputs[0]["name"])),
    )


def _writes(target: Any) -> bool:
    """Whether the operator writes to what it is given, which may be a part of an input."""
    return bool(getattr(getattr(target, "_schema", None), "is_mutable", False))


def _port(name: str, value: Any, what: str) -> Port:
    shape = [dim if isinstance(dim, int) else DYNAMIC for dim in value.shape]
    return {"name": name, "dtype": name_of(value.dtype, what), "shape": shape}


def _outputs(torch: Any, exported: Any, values: dict[str, Any], path: str) -> tuple[list[Port], list[bool]]:
    """The outputs, and of each leaf of what the program returns whether it is one (not None or a constant)."""
    given = [spec.arg for spec in exported.graph_signature.output_specs if spec.kind.name == "USER_OUTPUT"]
    pytree = torch.utils._pytree
    tree = pytree.tree_unflatten(list(range(len(given))), exported.call_spec.out_spec)
    keys = {index: _name(path_to, index) for path_to, index in pytree.tree_flatten_with_path(tree)[0]}
    ports: list[Port] = []
    is_output = []
    for index, argument in enumerate(given):
        kind = type(argument).__name__
        is_output.append(kind != "ConstantArgument")
        if kind == "TensorArgument":
            ports.append(_port(keys[index], values[argument.name], f"'{path}': the output '{keys[index]}'"))
        elif kind in _NUMBERS:
            ports.append({"name": keys[index], "dtype": _NUMBERS[kind], "shape": []})
        elif kind != "ConstantArgument":
            raise BackendError(f"'{path}': the output '{keys[index]}' is a {kind}; only tensors can be served")
    if not ports:
        raise BackendError(f"'{path}': the program returns no tensor")
    return ports, is_output


def _name(path_to: Any, index: int) -> str:
    """The key where the output is a dict's, else output_0, output_1, …"""
    last = path_to[-1] if path_to else None
    return str(last.key) if last is not None and hasattr(last, "key") else f"output_{index}"


def _trial(inputs: list[Port]) -> list[Array] | None:
    shapes = [port["shape"] or [] for port in inputs]  # a program that was exported knows how many dimensions there are
    if any(DYNAMIC in shape[1:] for shape in shapes):
        return None
    return [
        np.ones([1 if dim == DYNAMIC else dim for dim in shape], port["dtype"])
        for shape, port in zip(shapes, inputs, strict=True)
    ]


def _batches(exported: Any, value: Any) -> tuple[int, int | None]:
    """How many instances the program was exported for, by the range of the first dimension of its first input."""
    if value is None or not hasattr(value, "shape") or not len(value.shape) or isinstance(value.shape[0], int):
        return 1, None
    found = exported.range_constraints.get(value.shape[0].node.expr)
    if found is None:
        return 1, None

    def number(limit: Any) -> int | None:
        return int(limit) if str(limit).isdigit() else None  # PyTorch's infinity is an object

    return number(found.lower) or 1, number(found.upper)
