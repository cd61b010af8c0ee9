"""The example of an instance that declare_model() may be given: what its model is sure to run with."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from servoir.servable.declarations import DeclaredModel
from servoir.servable.spec import DYNAMIC, Port

if TYPE_CHECKING:
    from servoir.backends import Subgraph
    from servoir.backends.interface import Array

_KINDS = {"b": "b", "i": "iuf", "u": "iuf", "f": "f", "U": "U", "S": "S"}  # of dtypes, and what each may become


def read_example(model: DeclaredModel, number: int, subgraph: Subgraph) -> list[Array] | None:
    """The example's value for each input, without batch dimension; None without an example, and for subgraphs after
    the first. RuntimeError if it does not fit."""
    if model.example is None or number > 0:
        return None
    place = f"Parameter 'example' of model '{model.key}'"
    names = [port["name"] for port in subgraph.inputs]
    given = model.example
    if isinstance(given, Mapping):
        if set(given) != set(names):
            raise RuntimeError(f"{place} has {_listed(given)}; it should have a value for each input: {_listed(names)}")
        given = [given[name] for name in names]
    elif len(given) != len(names):
        raise RuntimeError(f"{place} has {len(given)} values; it should have one for each input: {_listed(names)}")
    made = []
    for index, (port, value) in enumerate(zip(subgraph.inputs, given, strict=True)):
        batched = model.with_batch_dim and index not in model.without_batch_dim_inputs
        made.append(_value(f"{place}: input {index} ('{port['name']}')", port, batched, value))
    return made


def _value(place: str, port: Port, batched: bool, value: Any) -> Array:
    wanted = port["dtype"]
    shape = port["shape"][1:] if batched and port["shape"] else port["shape"]
    right = f"{wanted or 'an array'}{'' if shape is None else f' of the shape {_shape(shape)}'}"
    try:
        array = np.asarray(value)
        if array.dtype.kind not in _KINDS:
            raise ValueError("it is no array of numbers or texts")
        # Lists and numbers of Python have no type of their own.
        if wanted is not None and array.dtype != wanted and not isinstance(value, np.ndarray | np.generic):
            if np.dtype(wanted).kind not in _KINDS[array.dtype.kind]:
                raise ValueError(f"it is {array.dtype.name}")
            array = np.asarray(value, wanted)
    except (ValueError, OverflowError, TypeError) as error:
        raise RuntimeError(f"{place} should be {right}: {error}") from None
    same_type = wanted is None or array.dtype == wanted or array.dtype.kind == np.dtype(wanted).kind in "US"
    same_shape = shape is None or (
        len(shape) == array.ndim and all(dim in (DYNAMIC, there) for dim, there in zip(shape, array.shape, strict=True))
    )
    if not same_type or not same_shape:
        raise RuntimeError(f"{place} should be {right}, but is {array.dtype.name} of the shape {_shape(array.shape)}")
    return array


def unlike_rows(example: Sequence[Array], unbatched: Collection[int], count: int, first: int = 0) -> list[Array]:
    """`count` instances for each input with a batch dimension; what inputs without it have.

    The first is the example, if `first` is 0. In each of the others the same values stand at other places, so integers
    stay indices of the same tables; and floats are smaller.
    """
    return [
        value if index in unbatched else np.stack([_turned(value, turn) for turn in range(first, first + count)])
        for index, value in enumerate(example)
    ]


def _turned(value: Array, turn: int) -> Array:
    turned = np.roll(value, turn)
    return np.asarray(turned / (1 + turn / 8), value.dtype) if value.dtype.kind == "f" else turned


def _listed(names: Any) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _shape(dims: Sequence[int]) -> str:
    return "[" + ", ".join("?" if dim == DYNAMIC else str(dim) for dim in dims) + "]"
