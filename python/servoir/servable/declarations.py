"""What servable_config.py declares: models, functions, methods and their stages; and the graph made of it.

A worker has one Declarations, the current one, filled while servable_config.py is imported. The words are those of the
scheduler: a *callee* is a function or one subgraph of a model, and the values of a method are numbered, its inputs
first, then the outputs of each stage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, TypeAlias

from servoir import settings
from servoir.servable.context import Context
from servoir.servable.spec import CalleeSpec, MethodSpec, PortSpec, ServableSpec, StageSpec

DEFAULT_MODEL_BATCH = 64  # instances in one run of a model whose batch dimension is dynamic
SINGLE_CALLS_BATCH = 256  # instances that travel together, at most, to a function that is called once for each

Function: TypeAlias = Callable[..., Any]
# (callee, instances, each a sequence of inputs) -> a tuple of outputs for each instance.
RunInstances: TypeAlias = Callable[[int, Sequence[Sequence[Any]]], tuple[tuple[Any, ...], ...]]


@dataclass(frozen=True)
class CallTarget:
    """What Model.call must know of a loaded subgraph of a model."""

    callee: int
    inputs: int
    outputs: tuple[str, ...]  # their names


@dataclass(frozen=True)
class Binding:
    """How a worker runs a declared model: its subgraphs by number, and what runs them."""

    subgraphs: Sequence[CallTarget]
    run: RunInstances


@dataclass(eq=False, repr=False)
class DeclaredModel:
    """A model as servable_config.py declares it."""

    files: tuple[str, ...]
    _: KW_ONLY
    model_format: str | None = None
    with_batch_dim: bool = True
    without_batch_dim_inputs: tuple[int, ...] = ()
    without_batch_dim_outputs: tuple[int, ...] = ()
    trial: bool = True  # the worker finds out by trial runs whether the first dimension is the batch
    example: Sequence[Any] | Mapping[str, Any] | None = None  # an instance: its inputs by position or by name
    context: Context | None = None
    config_file: str | None = None
    backend: str | type | None = None
    max_batch_size: int | None = None
    max_queue_delay: float = 0.0
    timeout: float | None = None
    key: str = ""  # its name in messages: the files, or that of the class
    binding: Binding | None = None  # from the worker, when the model can be called

    def __post_init__(self) -> None:
        self.key = self.key or ";".join(self.files) or getattr(self.backend, "__name__", "")

    def __repr__(self) -> str:
        return f"Model({self.key!r})"

    @property
    def subgraph_count(self) -> int:
        """Each file is a subgraph. A class is one subgraph, with all its files."""
        return 1 if isinstance(self.backend, type) else len(self.files)

    def bind(self, subgraphs: Sequence[CallTarget], run: RunInstances) -> None:
        """The worker's part: from now on Model.call works inside the functions that it runs."""
        self.binding = Binding(tuple(subgraphs), run)


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
    timeout: float | None  # seconds for a call; None: as settings say
    rerun: bool  # False: it has effects, so what fails is not run again

    def same_calls(self, other: FunctionCallee) -> bool:
        """Whether one call may take instances for both."""
        return (
            self.function is other.function
            and self.batch_size == other.batch_size
            and self.sized_by is other.sized_by
            and self.smallest == other.smallest
            and self.max_queue_delay == other.max_queue_delay
            and self.timeout == other.timeout
            and self.rerun == other.rerun
        )

    def max_batch(self, model_batches: Mapping[str, int]) -> int:
        if self.batch_size is None:
            return SINGLE_CALLS_BATCH
        if self.sized_by is None:
            return self.batch_size
        callees = [stage.callee for stage in self.sized_by.stages]
        sizes = [model_batches[callee.key] for callee in callees if isinstance(callee, DeclaredModel)]
        if not sizes:
            return 1
        return min(sizes) if self.smallest else max(sizes)


@dataclass
class Stage:
    callee: FunctionCallee | DeclaredModel
    inputs: tuple[int, ...]
    first_output: int
    outputs: int
    tag: str | None
    picked: tuple[str, ...] | None = None  # the outputs of the model that it gives, by name; None: all of them


@dataclass(eq=False)
class Method:
    name: str
    inputs: tuple[str, ...]
    output_names: tuple[str, ...]
    input_dtypes: tuple[str | None, ...] = ()  # one for each input, None where none is declared
    outputs: tuple[int, ...] = ()
    stages: list[Stage] = field(default_factory=list)
    values: int = 0


@dataclass(frozen=True)
class SubgraphPorts:
    """Inputs and outputs of a loaded subgraph."""

    inputs: Sequence[PortSpec]
    outputs: Sequence[PortSpec]
    unserved: Mapping[str, str] = field(default_factory=dict)  # outputs that cannot be served, each with the reason


@dataclass(frozen=True)
class LoadedModel:
    subgraphs: Sequence[SubgraphPorts]
    max_batch: int


class Declarations:
    def __init__(self) -> None:
        self.models: dict[str, DeclaredModel] = {}
        self.methods: dict[str, Method] = {}
        self.functions: list[FunctionCallee] = []
        self.recording: Method | None = None  # the method whose function is being run to learn its stages

    def add_model(self, model: DeclaredModel) -> None:
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
        """Returns the callee to use: a known one with the same calls, else `callee`."""
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

    def check_model_stage(self, model: DeclaredModel, inputs: int, outputs: int | None) -> None:
        """`outputs`: how many the stage says that the model has; None where it picks some by name."""
        for method in [*self.methods.values(), *([self.recording] if self.recording else [])]:
            for stage in method.stages:
                if stage.callee is not model:
                    continue
                counted = None if stage.picked is not None else stage.outputs
                for what, before, now in (("inputs", len(stage.inputs), inputs), ("outputs", counted, outputs)):
                    if before != now and before is not None and now is not None:
                        raise RuntimeError(
                            f"Model '{model.key}' is used in several stages that do not agree about {what}: first"
                            f" {before}, now {now}"
                        )

    def model_callee(self, model: DeclaredModel, subgraph: int) -> int:
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
        """Raises RuntimeError if a stage gives other numbers of inputs and outputs than its loaded model has, or picks
        an output that cannot be served."""
        for method in self.methods.values():
            for number, stage in enumerate(method.stages, 1):
                model = stage.callee
                if not isinstance(model, DeclaredModel):
                    continue
                ports = loaded[model.key].subgraphs[0]
                place = f"Method '{method.name}', stage {number}: model '{model.key}'"
                names = [port["name"] for port in ports.outputs]
                unserved = "".join(f"; its output '{name}' {reason}" for name, reason in ports.unserved.items())
                for what, given, there in (
                    ("inputs", len(stage.inputs), len(ports.inputs)),
                    ("outputs (outputs_count)", stage.outputs, len(names)),
                ):
                    if given != there and (what == "inputs" or stage.picked is None):
                        raise RuntimeError(
                            f"{place} has {there} {what}, but the stage has {given}"
                            f"{unserved if what != 'inputs' else ''}"
                        )
                for name in stage.picked or ():
                    if name in ports.unserved:
                        raise RuntimeError(f"{place}: its output '{name}' {ports.unserved[name]}")
                self._check_dtypes(method, stage, ports)

    @staticmethod
    def _check_dtypes(method: Method, stage: Stage, ports: SubgraphPorts) -> None:
        for value, port in zip(stage.inputs, ports.inputs, strict=True):
            declared = method.input_dtypes[value] if value < len(method.input_dtypes) else None
            if declared is not None and port["dtype"] not in (declared, None):
                raise RuntimeError(
                    f"Parameter 'input_dtypes' of register_method: input '{method.inputs[value]}' of method"
                    f" '{method.name}' is declared as {declared}, but goes to input '{port['name']}' of a model, which"
                    f" is {port['dtype']}"
                )

    def spec(self, name: str, version: int, loaded: Mapping[str, LoadedModel]) -> ServableSpec:
        """Writes the graph for _core.Server.publish."""
        callees: list[CalleeSpec] = []
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
                        "time_limit_ms": _time_limit_ms(model.timeout),
                        "rerun": True,
                        "with_batch_dim": model.with_batch_dim,
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
                "time_limit_ms": _time_limit_ms(callee.timeout),
                "rerun": callee.rerun,
                "with_batch_dim": False,
                "input_ports": [],
                "output_ports": [],
            }
            for callee in self.functions
        ]
        return {"name": name, "version": version, "callees": callees, "methods": self.method_specs(callees)}

    def method_specs(self, callees: Sequence[CalleeSpec]) -> list[MethodSpec]:
        return [self._method_spec(method, callees) for method in self.methods.values()]

    def _method_spec(self, method: Method, callees: Sequence[CalleeSpec]) -> MethodSpec:
        """Where a stage picks outputs of its model it has a value for each picked one here; in the graph it has a value
        for each output of the model, so values are numbered anew. RuntimeError if the model has no such output."""
        numbers = list(range(len(method.inputs)))  # of the values here, in the graph
        values = len(numbers)
        stages: list[StageSpec] = []
        for number, stage in enumerate(method.stages, 1):
            if isinstance(stage.callee, FunctionCallee):
                index = self.function_callee(stage.callee)
            else:
                index = self.model_callee(stage.callee, 0)
            made, given = stage.outputs, list(range(stage.outputs))
            if stage.picked is not None:
                names = [port["name"] for port in callees[index]["output_ports"]]
                where = f"Method '{method.name}', stage {number}: model '{callees[index]['name']}'"
                made, given = len(names), output_indices(stage.picked, names, where)
            stages.append(
                {
                    "callee": index,
                    "inputs": [numbers[value] for value in stage.inputs],
                    "first_output": values,
                    "outputs": made,
                    "tag": stage.tag or "",
                }
            )
            numbers += [values + output for output in given]
            values += made
        return {
            "name": method.name,
            "inputs": list(method.inputs),
            "input_dtypes": list(method.input_dtypes),
            "output_names": list(method.output_names),
            "outputs": [numbers[value] for value in method.outputs],
            "stages": stages,
            "values": values,
        }


def output_indices(picked: Sequence[str], names: Sequence[str], where: str) -> list[int]:
    """Places of the picked outputs among `names`, those that the model `where` has."""
    for name in picked:
        if name not in names:
            raise RuntimeError(f"{where} has no output '{name}'; it has {', '.join(map(repr, names))}")
    return [names.index(name) for name in picked]


_current = Declarations()


def current() -> Declarations:
    return _current


def begin() -> Declarations:
    """Forgets what was declared, and returns the new, empty declarations."""
    global _current
    _current = Declarations()
    return _current


def _time_limit_ms(timeout: float | None) -> int:
    seconds = float(settings.STAGE_TIMEOUT.value()) if timeout is None else timeout
    return round(seconds * 1000)
