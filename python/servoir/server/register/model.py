"""Models of a servable: declared in servable_config.py, loaded by the worker, called by stages or by Model.call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from servoir import check
from servoir.server.register import declarations
from servoir.server.register.context import Context

MODEL_FORMATS = (
    "OM",
    "MindIR",
    "MindIR_Opt",
    "MindIR_Lite",
    "ONNX",
    "OpenVINO",
    "TorchScript",
    "ExportedProgram",
    "Python",
)

Instance: TypeAlias = Sequence[Any]
# What the worker installs: (callee, instances) -> a tuple of outputs for each instance.
Caller: TypeAlias = Callable[[int, Sequence[Instance]], tuple[tuple[Any, ...], ...]]


@dataclass(frozen=True)
class Subgraph:
    """What Model.call must know of a loaded subgraph."""

    callee: int
    inputs: int
    outputs: int


class Model:
    """A model of the servable, made by declare_model."""

    def __init__(
        self,
        files: tuple[str, ...],
        *,
        model_format: str | None,
        with_batch_dim: bool,
        without_batch_dim_inputs: tuple[int, ...],
        context: Context | None,
        config_file: str | None,
        backend: str | type | None,
        max_batch_size: int | None,
        max_queue_delay: float,
    ) -> None:
        self.files = files
        self.key = ";".join(files) or getattr(backend, "__name__", "")
        self.model_format = model_format
        self.with_batch_dim = with_batch_dim
        self.without_batch_dim_inputs = without_batch_dim_inputs
        self.context = context
        self.config_file = config_file
        self.backend = backend
        self.max_batch_size = max_batch_size
        self.max_queue_delay = max_queue_delay
        self._subgraphs: tuple[Subgraph, ...] = ()
        self._caller: Caller | None = None

    def __repr__(self) -> str:
        return f"Model({self.key!r})"

    @property
    def subgraph_count(self) -> int:
        """Each file is one; all files of a class belong to the one that it is."""
        return 1 if isinstance(self.backend, type) else len(self.files)

    def bind(self, subgraphs: Sequence[Subgraph], caller: Caller) -> None:
        """The worker's part: from now on call() works inside the functions that it runs."""
        self._subgraphs = tuple(subgraphs)
        self._caller = caller

    def call(self, *args: Any, subgraph: int = 0) -> Any:
        """Runs the model from inside a stage function and waits for the result.

        call(x1, x2): the inputs of one instance; returns its output, or a tuple where the model has several.
        call([[x1, x2], [x3, x4]]): many instances; returns a tuple with a tuple of outputs for each.
        """
        check.integer("subgraph", subgraph, 0)
        if self._caller is None:
            if declarations.current().models.get(self.key) is not self:
                raise RuntimeError(
                    f"Model.call: '{self.key}' is no model that declare_model has made for this servable; declare it in"
                    f" servable_config.py"
                )
            raise RuntimeError(f"Model.call of '{self.key}' works only inside a stage function, while a worker runs it")
        if subgraph >= len(self._subgraphs):
            raise RuntimeError(
                f"Model.call: model '{self.key}' has no subgraph {subgraph}; it has {len(self._subgraphs)},"
                f" counted from 0"
            )
        target = self._subgraphs[subgraph]
        if not args:
            raise RuntimeError(
                f"Model.call of '{self.key}' needs the {target.inputs} inputs of an instance, or a list of instances"
            )
        if len(args) == 1 and isinstance(args[0], (list, tuple)):
            return self._call_many(target, args[0])
        self._check_inputs(target, 0, args)
        (outputs,) = self._caller(target.callee, (args,))
        return outputs[0] if target.outputs == 1 else outputs

    def _call_many(self, target: Subgraph, instances: Sequence[Any]) -> tuple[tuple[Any, ...], ...]:
        if not instances:
            raise RuntimeError(f"Model.call of '{self.key}': the list of instances is empty")
        for index, instance in enumerate(instances):
            if not isinstance(instance, (list, tuple)):
                raise RuntimeError(
                    f"Model.call of '{self.key}': instance {index} should be a list or tuple of inputs, but is of type"
                    f" {type(instance).__name__}"
                )
            self._check_inputs(target, index, instance)
        assert self._caller is not None
        return self._caller(target.callee, instances)

    def _check_inputs(self, target: Subgraph, index: int, inputs: Sequence[Any]) -> None:
        if len(inputs) != target.inputs:
            raise RuntimeError(
                f"Model.call of '{self.key}': instance {index} has {len(inputs)} inputs, but the model has"
                f" {target.inputs}"
            )


def declare_model(
    model_file: str | Sequence[str] = (),
    model_format: str | None = None,
    with_batch_dim: bool = True,
    options: Any = None,
    without_batch_dim_inputs: int | Sequence[int] | None = None,
    context: Context | None = None,
    config_file: str | None = None,
    *,
    backend: str | type | None = None,
    max_batch_size: int | None = None,
    max_queue_delay: float = 0.0,
) -> Model:
    """Declares a model of the servable; the worker loads it when it starts.

    Args:
        model_file: a file of the version directory; several are the subgraphs 0, 1, … of one model. A class may have
            none, and gets them all.
        model_format: one of MODEL_FORMATS, case ignored; None: the file's content decides.
        with_batch_dim: the first dimension of inputs and outputs counts instances.
        options: deprecated, AclOptions or GpuOptions; `context` wins.
        without_batch_dim_inputs: indices of inputs that have no batch dimension.
        context: threads and device settings.
        config_file: the backend's own settings file, relative to servable_config.py.
        backend: name of the backend to use; None: the first that knows the format. A class that computes the model
            itself: see docs/backends.md.
        max_batch_size: instances in one run of a model whose batch dimension is dynamic (default 64).
        max_queue_delay: seconds that an instance may wait for others to share its batch while the worker is idle.
    """
    is_class = isinstance(backend, type)
    no_file = isinstance(model_file, (list, tuple)) and not model_file
    files = () if is_class and no_file else check.texts("model_file", model_file)
    if model_format is not None:
        model_format = check.one_of("model_format", model_format, MODEL_FORMATS)
        if is_class != (model_format == "Python"):
            raise RuntimeError(
                f"Parameter 'model_format' is {model_format!r}, but 'backend' is {'a' if is_class else 'no'} class;"
                f" 'Python' and a class belong together"
            )
    check.flag("with_batch_dim", with_batch_dim)
    from_options = None if options is None else _context_of(options)
    if without_batch_dim_inputs is None:
        without: tuple[int, ...] = ()
    elif isinstance(without_batch_dim_inputs, (list, tuple)):
        without = check.integers("without_batch_dim_inputs", without_batch_dim_inputs, 0)
    else:
        without = (check.integer("without_batch_dim_inputs", without_batch_dim_inputs, 0),)
    if context is not None and not isinstance(context, Context):
        raise check.refuse("context", "a Context or None", context)
    if config_file is not None:
        check.text("config_file", config_file)
    if isinstance(backend, type):
        _check_class(backend)
    elif isinstance(backend, str):
        check.text("backend", backend)
    elif backend is not None:
        raise check.refuse("backend", "the name of a backend, or a class (not an object of it)", backend)
    if max_batch_size is not None:
        check.integer("max_batch_size", max_batch_size, 1)
    model = Model(
        files,
        model_format=model_format,
        with_batch_dim=with_batch_dim,
        without_batch_dim_inputs=without,
        context=context or from_options,
        config_file=config_file,
        backend=backend,
        max_batch_size=max_batch_size,
        max_queue_delay=check.number("max_queue_delay", max_queue_delay, 0),
    )
    declarations.current().add_model(model)
    return model


def _check_class(backend: type) -> None:
    from servoir.backends import python_class  # only for those that have one

    if problems := python_class.problems_of(backend):
        raise RuntimeError(
            f"Parameter 'backend': the class {backend.__name__} cannot run a model: {'; '.join(problems)}"
        )


def _context_of(options: Any) -> Context:
    from servoir.server.register.deprecated import AclOptions, GpuOptions  # which import this module

    if not isinstance(options, (AclOptions, GpuOptions)):
        raise check.refuse("options", "None, or AclOptions or GpuOptions (better: a Context as 'context')", options)
    context = Context()
    context.append_device_info(options)
    return context
