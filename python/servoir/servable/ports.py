"""Inputs and outputs that users write down: in a model's class, or in the config_file of a model whose file does not
say them.

    [{"name": "x", "dtype": "float32", "shape": [-1, 3]}, …]

`dtype`: a name of numpy's, or one of its types; missing or None: any. `shape`: with the batch dimension where there is
one, -1 or None for a dimension that may be anything; missing or None: any number of dimensions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from servoir.dtypes import DTYPES, TEXTS
from servoir.servable.spec import DYNAMIC, Port

MAX_DIMENSIONS = 8
EXAMPLE = '{"name": "x", "dtype": "float32", "shape": [-1, 3]}'


def read_ports(given: object, what: str, *, texts: bool = False) -> tuple[list[Port], list[str]]:
    """The inputs or outputs (`what` says which, in messages), and all that is wrong with them. `texts`: they may be
    arrays of str and of bytes."""
    dtypes = DTYPES + TEXTS if texts else DTYPES
    if not isinstance(given, list | tuple):
        return [], [f"'{what}' should be a list such as [{EXAMPLE}], but is of type {type(given).__name__}"]
    if not given:
        return [], [f"'{what}' is empty; a model has at least one of them, such as {EXAMPLE}"]
    ports: list[Port] = []
    wrong: list[str] = []
    for index, one in enumerate(given):
        place = f"{what}[{index}]"
        item = {"name": one} if isinstance(one, str) else one
        if not isinstance(item, dict):
            wrong.append(f"{place} should be a dict such as {EXAMPLE}, but is of type {type(item).__name__}")
            continue
        if unknown := [str(key) for key in item if key not in {"name", "dtype", "shape"}]:
            wrong.append(f"{place} has {', '.join(map(repr, unknown))}; it can have 'name', 'dtype' and 'shape'")
        name = item.get("name")
        if not isinstance(name, str) or not name:
            wrong.append(f"{place} needs a 'name', a text that is not empty; it has {name!r}")
            name = f"#{index}"
        elif name in [port["name"] for port in ports]:
            wrong.append(f"{place} has the name {name!r}, as one before it")
        ports.append(
            {
                "name": name,
                "dtype": dtype_name(item.get("dtype"), dtypes, place, wrong),
                "shape": _shape(item.get("shape"), place, wrong),
            }
        )
    return ports, wrong


def dtype_name(given: Any, dtypes: tuple[str, ...], place: str, wrong: list[str]) -> str | None:
    if given is None:
        return None
    try:
        name = str(np.dtype(given).name)
    except TypeError:
        name = str(given)
    if name not in dtypes:
        wrong.append(f"{place} has the dtype {given!r}, which cannot be served; it can be one of {', '.join(dtypes)}")
        return None
    return name


def _shape(given: Any, place: str, wrong: list[str]) -> list[int] | None:
    if given is None:
        return None
    example = "a list of numbers such as [-1, 3], -1 for a dimension that may be anything"
    if not isinstance(given, list | tuple):
        wrong.append(f"{place} has the shape {given!r}; it should be {example}")
        return None
    dims: list[int] = []
    for dim in given:
        number = DYNAMIC if dim is None else dim
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < DYNAMIC:
            wrong.append(f"{place} has the shape {list(given)!r}, with {dim!r} in it; it should be {example}")
            return None
        dims.append(int(number))
    if len(dims) > MAX_DIMENSIONS:
        wrong.append(f"{place} has {len(dims)} dimensions; at most {MAX_DIMENSIONS} can be served")
        return None
    return dims
