"""TorchScript files: how `forward` is called, and what it takes and gives.

A file says how many tensors `forward` takes and gives, not of which type and shape. In this order it is known from

1. "inputs" and "outputs" of the model's config_file (see servable/ports.py);
2. the tensors that torch.jit.trace was given, which it keeps in the file: their types and numbers of dimensions, and a
   trial run with such tensors says the same of the outputs;
3. else types and shapes are open: any numbers are taken, as they come.

Parameters of `forward` with default values keep them unless "inputs" names them.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from servoir import log
from servoir.backends.interface import Array
from servoir.backends.torch.inputs import Sample, traced_inputs
from servoir.backends.torch.program import Program
from servoir.backends.torch.types import name_of
from servoir.errors import BackendError
from servoir.servable.ports import EXAMPLE
from servoir.servable.spec import DYNAMIC, Port

_NUMBERS = {"IntType": "int64", "FloatType": "float64", "BoolType": "bool"}
# What may keep its inputs, or call what is not seen in the graph.
_KEEPING = {"prim::SetAttr", "prim::CallMethod", "prim::CallFunction", "prim::fork"}


def open_program(
    torch: Any, source: Any, path: str, device: str, inputs: list[Port] | None, outputs: list[Port] | None
) -> Program:
    with zipfile.ZipFile(source) as archive:
        samples = traced_inputs(archive)
    if not isinstance(source, str):
        source.seek(0)
    module = torch.jit.load(source, map_location=device)
    module.eval()
    schema = _schema(module, path)
    names = [argument.name for argument in schema.arguments[1:]]
    arguments = _arguments(schema, path, inputs)
    chosen = [argument.name for argument in arguments]
    by_position = chosen == names[: len(chosen)]

    def call(values: list[Any]) -> Any:
        return module(*values) if by_position else module(**dict(zip(chosen, values, strict=True)))

    scalars = [argument.type.kind() in _NUMBERS for argument in arguments]
    if samples is not None and len(samples) != len(names):
        samples = None
    by_name = {} if samples is None else dict(zip(names, samples, strict=True))
    ports = [_input(argument, by_name.get(argument.name), inputs) for argument in arguments]
    trial = _trial(ports, [by_name.get(name) for name in chosen])
    results = None
    if trial is not None:
        try:
            results = call(
                [
                    array.item() if scalar else torch.from_numpy(array)
                    for array, scalar in zip(trial, scalars, strict=True)
                ]
            )
        except Exception as error:  # whatever the program raises
            log.info("'%s' did not run with ones, its outputs are learnt from requests: %s", path, error)
            trial = None
    found = _outputs(torch, schema.returns, results, path)
    if outputs is not None:
        if found is not None and len(found) != len(outputs) and _takes_all(schema.returns):
            raise BackendError(
                f"'{path}': the config_file describes {len(outputs)} outputs, but the program gives {len(found)}"
            )
        found = outputs
    if found is None:
        raise BackendError(
            f"'{path}': its forward gives a {schema.returns[0].type}, and the file does not say how many tensors that"
            f" are; say it in the config_file of declare_model:"
            f' {{"outputs": [{EXAMPLE.replace("x", "y", 1)}, …]}}, or describe the inputs there, all dimensions but the'
            f' first as numbers: {{"inputs": [{EXAMPLE}, …]}}'
        )
    return Program(ports, found, _runner(call, found), scalars, _copied(module, len(names), by_position, chosen), trial)


def _schema(module: Any, path: str) -> Any:
    try:
        return module.forward.schema
    except AttributeError:
        raise BackendError(
            f"'{path}' is a TorchScript file whose module has no method 'forward'; give it one, which takes and returns"
            f" tensors, and save it again"
        ) from None


def _arguments(schema: Any, path: str, inputs: list[Port] | None) -> list[Any]:
    """The parameters of forward that are inputs of the model."""
    described = None if inputs is None else [port["name"] for port in inputs]
    every = schema.arguments[1:]  # without self
    for name in described or []:
        if name not in [argument.name for argument in every]:
            there = ", ".join(f"'{argument.name}'" for argument in every)
            raise BackendError(f"'{path}': the config_file describes an input '{name}'; forward has {there}")
    chosen = []
    for argument in every:
        wanted = not argument.has_default_value() if described is None else argument.name in described
        if not wanted and argument.has_default_value():
            continue
        if not wanted:
            raise BackendError(
                f"'{path}': the config_file does not describe the input '{argument.name}', which has no default value"
            )
        kind = argument.type.kind()
        if kind == "OptionalType":
            kind = argument.type.getElementType().kind()
        if kind != "TensorType" and (kind not in _NUMBERS or argument.type.kind() == "OptionalType"):
            raise BackendError(
                f"'{path}': the input '{argument.name}' is a {argument.type}; only tensors and numbers can be served:"
                f" save a module whose forward takes its parts one by one"
            )
        chosen.append(argument)
    if not chosen:
        raise BackendError(f"'{path}': forward takes no input that has no default value; the config_file can name some")
    return chosen


def _input(argument: Any, sample: Sample | None, inputs: list[Port] | None) -> Port:
    kind = argument.type.kind()
    if kind in _NUMBERS:
        return {"name": argument.name, "dtype": _NUMBERS[kind], "shape": []}
    for port in inputs or []:
        if port["name"] == argument.name:
            if sample is not None and port["dtype"] is None:
                return {**port, "dtype": sample.dtype}
            return port
    if sample is not None:
        return {"name": argument.name, "dtype": sample.dtype, "shape": [DYNAMIC] * len(sample.shape)}
    return {"name": argument.name, "dtype": None, "shape": None}


def _trial(ports: Sequence[Port], samples: Sequence[Sample | None]) -> list[Array] | None:
    """Ones as the program may be run with them, where enough is known."""
    arrays = []
    for port, sample in zip(ports, samples, strict=True):
        shape, dtype = port["shape"], port["dtype"]
        if sample is not None and (shape is None or len(sample.shape) == len(shape)):
            fixed = [DYNAMIC] * len(sample.shape) if shape is None else shape
            shape = [known if dim == DYNAMIC else dim for dim, known in zip(fixed, sample.shape, strict=True)]
        elif shape is not None and DYNAMIC not in shape[1:]:
            shape = [1 if dim == DYNAMIC else dim for dim in shape]
        else:
            return None
        if dtype is None:
            return None
        arrays.append(np.ones(shape, dtype))
    return arrays


def _outputs(torch: Any, returns: Sequence[Any], results: Any, path: str) -> list[Port] | None:
    """None: how many there are is not known."""
    if results is not None:
        return [_output(torch, name, value, path) for name, value in _leaves(results)]
    if not _takes_all(returns):
        return None
    leaves = list(_leaf_types(returns[0].type, path))
    return [
        {
            "name": f"output_{index}",
            "dtype": _NUMBERS.get(kind),
            "shape": [] if kind in _NUMBERS else None,
        }
        for index, kind in enumerate(leaves)
    ]


def _takes_all(returns: Sequence[Any]) -> bool:
    """Whether the type alone says how many there are."""

    def known(kind: Any) -> bool:
        if kind.kind() == "TupleType":
            return all(known(element) for element in kind.elements())
        return kind.kind() not in {"ListType", "DictType"}

    return len(returns) == 1 and known(returns[0].type)


def _leaf_types(of: Any, path: str) -> Iterator[str]:
    if of.kind() == "TupleType":
        for element in of.elements():
            yield from _leaf_types(element, path)
    elif of.kind() in {"TensorType", *_NUMBERS}:
        yield of.kind()
    else:
        raise BackendError(
            f"'{path}': forward gives a {of}; only tensors, numbers, tuples, lists and dicts can be served"
        )


def _leaves(results: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Tensors and numbers with their names: keys of a dict, else output_0, output_1, …, in order."""

    def walk(value: Any, key: str | None) -> Iterator[tuple[str | None, Any]]:
        if isinstance(value, tuple | list):
            for element in value:
                yield from walk(element, None)
        elif isinstance(value, dict):
            for inner, element in value.items():
                yield from walk(element, str(inner))
        else:
            yield key, value

    for index, (key, value) in enumerate(walk(results, None)):
        yield key if key is not None else f"output_{index}", value


def _output(torch: Any, name: str, value: Any, path: str) -> Port:
    if isinstance(value, bool | int | float):
        return {"name": name, "dtype": np.asarray(value).dtype.name, "shape": []}
    if not isinstance(value, torch.Tensor):
        raise BackendError(
            f"'{path}': the output '{name}' is of type {type(value).__name__}; only tensors and numbers can be served"
        )
    return {
        "name": name,
        "dtype": name_of(value.dtype, f"'{path}': the output '{name}'"),
        "shape": [DYNAMIC] * value.dim(),
    }


def _runner(call: Callable[[list[Any]], Any], outputs: list[Port]) -> Callable[[list[Any]], list[Any]]:
    names = [port["name"] for port in outputs]

    def run(values: list[Any]) -> list[Any]:
        results = call(values)
        if isinstance(results, dict):
            missing = [name for name in names if name not in results]
            if missing:
                raise BackendError(f"it gave no output '{missing[0]}', but {', '.join(map(repr, results))}")
            return [results[name] for name in names]
        leaves = [value for _, value in _leaves(results)]
        if len(leaves) != len(names):
            raise BackendError(f"it gave {len(leaves)} outputs; there should be {len(names)}")
        return leaves

    return run


def _copied(module: Any, count: int, by_position: bool, chosen: Sequence[str]) -> list[bool]:
    """Of each chosen input: whether the program may write to it or keep it."""
    graph = module.inlined_graph
    kinds = {node.kind() for node in _nodes(graph)}
    if kinds & _KEEPING or not by_position:
        return [True] * len(chosen)
    aliases = graph.alias_db()
    values = list(graph.inputs())[-count:] if count else []
    return [bool(aliases.has_writers(value)) for value in values[: len(chosen)]]


def _nodes(block: Any) -> Iterator[Any]:
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)
