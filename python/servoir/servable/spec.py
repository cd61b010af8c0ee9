"""The graph of a servable as a worker sends it and the server publishes it: plain dicts, typed.

The classes mirror cpp/src/request/graph.h by name. Declarations.spec() writes the dicts, bindings/servable_spec.cpp
reads them; between the two they travel as JSON and nothing changes them. A port stays as the backend has described it
on the whole way: code that needs the shape of one instance leaves out the first dimension where `batched` and
`with_batch_dim` say that it counts instances.
"""

from __future__ import annotations

from typing import Literal, TypedDict

DYNAMIC = -1  # a dimension of any size

# What a servable may ask for at most; only a slip asks for more.
LARGEST_BATCH = 1_000_000
MOST_PORTS = 10_000  # inputs or outputs of a stage
LONGEST_QUEUE_DELAY = 3600  # seconds
LONGEST_TIME_LIMIT = 7 * 86400  # seconds


class Port(TypedDict):
    """An input or output of a model, as its backend describes it."""

    name: str
    dtype: str | None  # numpy's name, "str" or "bytes"; None: numbers of any type
    shape: list[int] | None  # the batch dimension included; DYNAMIC is possible; None: any number of dimensions


class PortSpec(Port):
    batched: bool  # False: one value for the whole batch


class CalleeSpec(TypedDict):
    """What a stage calls: a function, or a subgraph of a model."""

    kind: Literal["function", "model"]
    name: str  # of the function, or the key of the model
    subgraph: int  # of the model
    inputs: int
    outputs: int
    max_batch: int  # instances in one batch, at most
    called_singly: bool  # a function that is called once for each instance
    max_queue_delay_us: int
    time_limit_ms: int  # for a batch, or for each instance of one that is called singly; 0: none
    rerun: bool  # False: a function with effects, which no instance may see twice
    with_batch_dim: bool  # the first dimension of ports that are `batched` counts instances
    input_ports: list[PortSpec]  # of models only
    output_ports: list[PortSpec]  # of models only


class StageSpec(TypedDict):
    callee: int  # index in ServableSpec.callees
    inputs: list[int]  # values of the method
    first_output: int  # value; the others follow
    outputs: int
    tag: str  # in error texts; empty: the name of the function or model


class MethodSpec(TypedDict):
    """Values are numbered: the inputs first, then the outputs of each stage."""

    name: str
    inputs: list[str]
    input_dtypes: list[str | None]  # that numbers without a type of their own are taken for; None: not declared
    output_names: list[str]
    outputs: list[int]  # values
    stages: list[StageSpec]
    values: int  # in all


class ServableSpec(TypedDict):
    name: str
    version: int
    callees: list[CalleeSpec]  # models first, as they were declared, then functions
    methods: list[MethodSpec]
