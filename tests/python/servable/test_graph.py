"""The graph's dict as _core.Server.publish reads it: what is missing or wrong is named with its place."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest
from servoir import _core
from servoir.dtypes import DTYPES, TEXTS
from servoir.servable.spec import CalleeSpec, PortSpec, ServableSpec

PORT: PortSpec = {"name": "x", "dtype": "float32", "shape": [-1, 3], "batched": True}
CALLEE: CalleeSpec = {
    "kind": "model",
    "name": "net",
    "subgraph": 0,
    "inputs": 1,
    "outputs": 1,
    "max_batch": 4,
    "called_singly": False,
    "max_queue_delay_us": 0,
    "time_limit_ms": 0,
    "rerun": True,
    "with_batch_dim": True,
    "input_ports": [PORT],
    "output_ports": [{**PORT, "name": "y"}],
}
GRAPH: ServableSpec = {
    "name": "add",
    "version": 1,
    "callees": [CALLEE],
    "methods": [
        {
            "name": "method",
            "inputs": ["x"],
            "input_dtypes": ["int64"],
            "output_names": ["y"],
            "outputs": [1],
            "stages": [{"callee": 0, "inputs": [0], "first_output": 1, "outputs": 1, "tag": ""}],
            "values": 2,
        }
    ],
}


@pytest.fixture(scope="module")
def server() -> Iterator[_core.Server]:
    made = _core.Server(arena_limit=64 << 20, io_threads=1)
    yield made
    made.stop()


def test_a_whole_graph_is_published(server: _core.Server) -> None:
    server.withdraw(server.publish(GRAPH), "the test is over")


def places(value: Any, place: str = "servable") -> Iterator[tuple[str, list[Any], str]]:
    """Every field of every dict: the dict's place in messages, the way to it, the field's name."""
    for key, item in value.items():
        yield place, [], key
        for index, one in enumerate(item if isinstance(item, list) else []):
            if isinstance(one, dict):
                for deeper, way, name in places(one, f"{place}.{key}[{index}]"):
                    yield deeper, [key, index, *way], name


FIELDS = list(places(GRAPH))


@pytest.mark.parametrize(("place", "way", "name"), FIELDS, ids=[f"{place}.{name}" for place, _, name in FIELDS])
def test_a_field_that_is_missing_or_of_another_type(
    server: _core.Server, place: str, way: list[Any], name: str
) -> None:
    graph: Any = copy.deepcopy(GRAPH)
    where = graph
    for step in way:
        where = where[step]
    where[name] = object()
    with pytest.raises(RuntimeError, match=re.escape(f"the description of a servable: {place} ['{name}'] is <object")):
        server.publish(graph)
    del where[name]
    with pytest.raises(RuntimeError, match=re.escape(f"the description of a servable: {place} has no '{name}'")):
        server.publish(graph)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"dtype": "complex64"}, "has the dtype 'complex64'"),
        ({"shape": [-1, -2]}, "has the dimension -2"),
        ({"shape": [1] * 9}, "has 9 dimensions; at most 8"),
        ({"shape": []}, "is a single value, but its first dimension should be the batch"),
    ],
)
def test_ports_that_cannot_be(server: _core.Server, change: dict[str, Any], text: str) -> None:
    graph: Any = copy.deepcopy(GRAPH)
    graph["callees"][0]["input_ports"][0].update(change)
    with pytest.raises(RuntimeError, match=re.escape(f"callees[0].input_ports[0] {text}")):
        server.publish(graph)


def test_declared_dtypes_that_cannot_be(server: _core.Server) -> None:
    graph: Any = copy.deepcopy(GRAPH)
    graph["methods"][0]["input_dtypes"] = ["complex64"]
    with pytest.raises(RuntimeError, match=re.escape("servable.methods[0] has the dtype 'complex64'")):
        server.publish(graph)
    graph["methods"][0]["input_dtypes"] = [None, "int64"]
    with pytest.raises(RuntimeError, match="method 'method': has dtypes for 2 inputs and 1"):
        server.publish(graph)
    for dtypes in ([], [None]):
        graph["methods"][0]["input_dtypes"] = dtypes
        server.withdraw(server.publish(graph), "the test is over")


@pytest.mark.parametrize("change", [{"batched": False}, {"shape": None}])
def test_a_single_value_without_a_batch_dimension(server: _core.Server, change: dict[str, Any]) -> None:
    graph: Any = copy.deepcopy(GRAPH)
    graph["callees"][0]["input_ports"][0].update({"shape": [], **change})
    server.withdraw(server.publish(graph), "the test is over")


@pytest.mark.parametrize("dtype", [*DTYPES, *TEXTS, None])
def test_every_dtype_can_be_declared(server: _core.Server, dtype: str | None) -> None:
    graph: Any = copy.deepcopy(GRAPH)
    graph["callees"][0]["input_ports"][0]["dtype"] = dtype
    server.withdraw(server.publish(graph), "the test is over")
