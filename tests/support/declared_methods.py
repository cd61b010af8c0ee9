"""Functions, ports and models for tests that declare methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from servoir.servable.declarations import LoadedModel, SubgraphPorts
from servoir.servable.spec import PortSpec
from servoir.server import register


def one(x: Any) -> Any:
    return x


def two(x: Any, y: Any) -> Any:
    return x, y


def batched(instances: Any) -> Any:
    return instances


def other_batched(instances: Any) -> Any:
    return instances


def define(function: Callable[..., Any], output_names: Any = "y") -> None:
    register.register_method(output_names)(function)


def port(name: str, shape: list[int] | None = None) -> PortSpec:
    return {"name": name, "dtype": "float32", "shape": shape, "batched": True}


def loaded(inputs: int, outputs: int, max_batch: int = 8, subgraphs: int = 1) -> LoadedModel:
    ports = SubgraphPorts([port(f"i{n}") for n in range(inputs)], [port(f"o{n}") for n in range(outputs)])
    return LoadedModel([ports] * subgraphs, max_batch)


def lambda_named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    function.__name__ = name
    return function
