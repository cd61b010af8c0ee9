"""What servable_config.py declares: models, functions, methods and their stages; and the graph made of it.

A worker has one Declarations, the current one, filled while servable_config.py is imported. The words are those of the
scheduler: a *callee* is a function or one subgraph of a model, and the values of a method are numbered, its inputs
first, then the outputs of each stage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from servoir.server.register.model import Model

DEFAULT_MODEL_BATCH = 64  # instances in one run of a model whose batch dimension is dynamic
SINGLE_CALLS_BATCH = 256  # instances that travel together, at most, to a function that is called once for each

Function: TypeAlias = Callable[..., Any]


@dataclass(eq=False)
class FunctionCallee:
    """A Python function as stages call it."""

    function: Function
    name: str
    inputs: int
    outputs: int
    batch_size: int | None
    # batch_size 0 asks for the batch size of the models of this method: the smallest when all inputs of the stage come
    # from the method, else the largest.
    sized_by: Method | None
    smallest: bool
    max_queue_delay: float

    def same_calls(self, other: FunctionCallee) -> bool:
        """Whether instances for both may be given to one call."""
        return (
            self.function is other.function
            and self.batch_size == other.batch_size
            and self.sized_by is other.sized_by
            and self.smallest == other.smallest
            and self.max_queue_delay == other.max_queue_delay
        )

    def max_batch(self, model_batches: Mapping[str, int]) -> int:
        if self.batch_size is None:
            return SINGLE_CALLS_BATCH
        if self.sized_by is None:
            return self.batch_size
        sizes = [model_batches[stage.callee.key] for stage in self.sized_by.stages if not stage.calls_function]
        if not sizes:
            return 1
        return min(sizes) if self.smallest else max(sizes)


@dataclass
class Stage:
    callee: Any  # FunctionCallee or Model
    calls_function: bool
    inputs: tuple[int, ...]
    first_output: int
    outputs: int
    tag: str | None


@dataclass(eq=False)
class Method:
    name: str
    inputs: tuple[str, ...]
    output_names: tuple[str, ...]
    outputs: tuple[int, ...] = ()
    stages: list[Stage] = field(default_factory=list)
    values: int = 0


@dataclass(frozen=True)
class SubgraphPorts:
    """Inputs and outputs of a loaded subgraph, as the callees of the graph carry them: name, dtype, shape, batched."""

    inputs: Sequence[dict[str, Any]]
    outputs: Sequence[dict[str, Any]]


@dataclass(frozen=True)
class LoadedModel:
    subgraphs: Sequence[SubgraphPorts]
    max_batch: int


class Declarations:
    def __init__(self) -> None:
        self.models: dict[str, Model] = {}
        self.methods: dict[str, Method] = {}
        self.functions: list[FunctionCallee] = []
        self.recording: Method | None = None  # the method whose function is being run to learn its stages

    def add_model(self, model: Model) -> None:
        for other in self.models.values():
            shared = [name for name in model.files if name in other.files]
            if shared:
                raise RuntimeError(
                    f"Parameter 'model_file': '{shared[0]}' is already the file of model '{other.key}' of this servable"
                )
        number = 1
        name = model.key
        while model.key in self.models:  # a class without files that several models have
            number += 1
            model.key = f"{name} ({number})"
        self.models[model.key] = model

    def add_function(self, callee: FunctionCallee) -> FunctionCallee:
        """The callee for these calls: an equal one that is known, else `callee`."""
        for known in self.functions:
            if known.name != callee.name:
                continue
            self._check_agreement(known, callee)
            if known.same_calls(callee):
                return known
        self.functions.append(callee)
        return callee

    @staticmethod
    def _check_agreement(known: FunctionCallee, callee: FunctionCallee) -> None:
        for what, before, now in (
            ("inputs", known.inputs, callee.inputs),
            ("outputs (outputs_count)", known.outputs, callee.outputs),
            ("batch size (batch_size)", known.batch_size is not None, callee.batch_size is not None),
        ):
            if before != now:
                raise RuntimeError(
                    f"Function '{callee.name}' is used in several stages that do not agree about {what}: first"
                    f" {before}, now {now}"
                )

    def check_model_stage(self, model: Model, inputs: int, outputs: int) -> None:
        for method in [*self.methods.values(), *([self.recording] if self.recording else [])]:
            for stage in method.stages:
                if stage.callee is not model:
                    continue
                for what, before, now in (("inputs", len(stage.inputs), inputs), ("outputs", stage.outputs, outputs)):
                    if before != now:
                        raise RuntimeError(
                            f"Model '{model.key}' is used in several stages that do not agree about {what}: first"
                            f" {before}, now {now}"
                        )

    def model_callee(self, model: Model, subgraph: int) -> int:
        """Index of the subgraph among the callees: models come first, as they were declared, then functions."""
        index = 0
        for other in self.models.values():
            if other is model:
                return index + subgraph
            index += other.subgraph_count
        raise RuntimeError(f"model '{model.key}' was not declared in this servable")

    def function_callee(self, callee: FunctionCallee) -> int:
        return sum(model.subgraph_count for model in self.models.values()) + self.functions.index(callee)

    def check_complete(self, servable: str) -> None:
        if not self.methods:
            raise RuntimeError(
                f"servable '{servable}' has no method: its servable_config.py should register one with register_method"
            )

    def check_against(self, loaded: Mapping[str, LoadedModel]) -> None:
        """Numbers of inputs and outputs that stages give, against the loaded models."""
        for method in self.methods.values():
            for number, stage in enumerate(method.stages, 1):
                if stage.calls_function:
                    continue
                ports = loaded[stage.callee.key].subgraphs[0]
                for what, given, there in (
                    ("inputs", len(stage.inputs), len(ports.inputs)),
                    ("outputs (outputs_count)", stage.outputs, len(ports.outputs)),
                ):
                    if given != there:
                        raise RuntimeError(
                            f"Method '{method.name}', stage {number}: model '{stage.callee.key}' has {there} {what},"
                            f" but the stage has {given}"
                        )

    def spec(self, name: str, version: int, loaded: Mapping[str, LoadedModel]) -> dict[str, Any]:
        """The graph for _core.Server.publish."""
        callees: list[dict[str, Any]] = []
        for model in self.models.values():
            now = loaded[model.key]
            for subgraph, ports in enumerate(now.subgraphs):
                callees.append(
                    {
                        "kind": "model",
                        "name": model.key,
                        "subgraph": subgraph,
                        "inputs": len(ports.inputs),
                        "outputs": len(ports.outputs),
                        "max_batch": now.max_batch,
                        "called_singly": False,
                        "max_queue_delay_us": round(model.max_queue_delay * 1e6),
                        "input_ports": list(ports.inputs),
                        "output_ports": list(ports.outputs),
                    }
                )
        batches = {key: model.max_batch for key, model in loaded.items()}
        callees += [
            {
                "kind": "function",
                "name": callee.name,
                "subgraph": 0,
                "inputs": callee.inputs,
                "outputs": callee.outputs,
                "max_batch": callee.max_batch(batches),
                "called_singly": callee.batch_size is None,
                "max_queue_delay_us": round(callee.max_queue_delay * 1e6),
                "input_ports": [],
                "output_ports": [],
            }
            for callee in self.functions
        ]
        return {"name": name, "version": version, "callees": callees, "methods": self.method_specs()}

    def method_specs(self) -> list[dict[str, Any]]:
        return [
            {
                "name": method.name,
                "inputs": list(method.inputs),
                "output_names": list(method.output_names),
                "outputs": list(method.outputs),
                "stages": [self._stage_spec(stage) for stage in method.stages],
                "values": method.values,
            }
            for method in self.methods.values()
        ]

    def _stage_spec(self, stage: Stage) -> dict[str, Any]:
        if stage.calls_function:
            callee = self.function_callee(stage.callee)
        else:
            callee = self.model_callee(stage.callee, 0)
        return {
            "callee": callee,
            "inputs": list(stage.inputs),
            "first_output": stage.first_output,
            "outputs": stage.outputs,
            "tag": stage.tag or "",
        }


_current = Declarations()


def current() -> Declarations:
    return _current


def begin() -> Declarations:
    """Forgets what was declared and starts anew."""
    global _current
    _current = Declarations()
    return _current
