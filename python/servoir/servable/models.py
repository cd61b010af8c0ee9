"""Models of a servable: declared in servable_config.py, loaded by the worker, called by stages or by Model.call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from servoir import check
from servoir.servable import declarations
from servoir.servable.context import Context, DeprecatedOptions
from servoir.servable.declarations import Binding, CallTarget, DeclaredModel, RunInstances, output_indices
from servoir.servable.spec import LARGEST_BATCH, LONGEST_QUEUE_DELAY, LONGEST_TIME_LIMIT, MOST_PORTS

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


class Model(DeclaredModel):
    """A model of the servable, made by declare_model: a stage of a method, or called by a stage function."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in the order in which call() gives them; those of the first file, where the model has
        several. Known inside stage functions, while a worker runs them: models are loaded after servable_config.py."""
        return self._bound("outputs").subgraphs[0].outputs

    def call(self, *args: Any, subgraph: int = 0, outputs: str | Sequence[str] | None = None) -> Any:
        """Runs the model from inside a stage function, and waits for the result.

        The server splits the instances into batches, and may run them together with those of others. In a worker
        without models the call goes to a worker that has them.

        Args:
            args: the inputs of one instance, without the batch dimension: call(x1, x2). Or one list or tuple of
                instances, each a list or tuple of inputs: call([[x1, x2], [x3, x4]]). So a single input cannot be a
                list. An input may be whatever a stage function may return.
            subgraph: number of the file, where the model has several.
            outputs: the name of the output that is wanted, or several, in the order in which they are wanted. None:
                all that the model has.

        Returns:
            For one instance its output, or a tuple of outputs where there are several. For a list of instances a
            tuple with a tuple of outputs for each. Outputs are numpy arrays without the batch dimension. They
            lie in shared memory and are valid until the stage function has been called for its batch, like its
            arguments: copy what is to be kept longer.

        Raises:
            RuntimeError: the inputs do not fit the model, the model failed, there is no such subgraph or output, or
                this is not inside a stage function that a worker runs. If some instances fail, the error is that of
                the first of them.
        """
        check.integer("subgraph", subgraph, 0)
        binding = self._bound("call")
        subgraphs, run = binding.subgraphs, binding.run
        if subgraph >= len(subgraphs):
            raise RuntimeError(
                f"Model.call: model '{self.key}' has no subgraph {subgraph}; it has {len(subgraphs)}, counted from 0"
            )
        target = subgraphs[subgraph]
        if not args:
            raise RuntimeError(
                f"Model.call of '{self.key}' needs the {target.inputs} inputs of an instance, or a list of instances"
            )
        picked: list[int] | None = None
        if outputs is not None:
            picked = output_indices(
                check.texts("outputs", outputs), target.outputs, f"Model.call of '{self.key}': the model"
            )
        if len(args) == 1 and isinstance(args[0], (list, tuple)):
            given = self._call_many(run, target, args[0])
            return given if picked is None else tuple(tuple(one[index] for index in picked) for one in given)
        self._check_inputs(target, 0, args)
        (results,) = run(target.callee, (args,))
        if picked is None:
            return results[0] if len(target.outputs) == 1 else results
        return results[picked[0]] if len(picked) == 1 else tuple(results[index] for index in picked)

    def _bound(self, what: str) -> Binding:
        """RuntimeError, saying so of Model.`what`, where no worker runs this."""
        if self.binding is not None:
            return self.binding
        if declarations.current().models.get(self.key) is not self:
            raise RuntimeError(
                f"Model.{what}: '{self.key}' is no model that declare_model has made for this servable; declare it in"
                f" servable_config.py"
            )
        raise RuntimeError(f"Model.{what} of '{self.key}' works only inside a stage function, while a worker runs it")

    def _call_many(
        self, run: RunInstances, target: CallTarget, instances: Sequence[Any]
    ) -> tuple[tuple[Any, ...], ...]:
        if not instances:
            raise RuntimeError(f"Model.call of '{self.key}': the list of instances is empty")
        for index, instance in enumerate(instances):
            if not isinstance(instance, (list, tuple)):
                raise RuntimeError(
                    f"Model.call of '{self.key}': instance {index} should be a list or tuple of inputs, but is of type"
                    f" {type(instance).__name__}"
                )
            self._check_inputs(target, index, instance)
        return run(target.callee, instances)

    def _check_inputs(self, target: CallTarget, index: int, inputs: Sequence[Any]) -> None:
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
    timeout: float | None = None,
    without_batch_dim_outputs: int | Sequence[int] | None = None,
    trial: bool = True,
    example: Sequence[Any] | Mapping[str, Any] | None = None,
) -> Model:
    """Declares a model of the servable. Each worker that has models loads it when it starts, whether it is used or not.

    Args:
        model_file: a file of the version directory, or several, which are the subgraphs 0, 1, … of one model. A class
            as `backend` may have no file, and gets all those it has.
        model_format: one of MODEL_FORMATS, case ignored. None: the file's content decides.
        with_batch_dim: the first dimension of inputs and outputs counts instances. False: each run takes one instance.
        options: deprecated, AclOptions or GpuOptions; `context` takes precedence.
        without_batch_dim_inputs: index of an input that has no batch dimension, or several. Instances share a run only
            if they have equal values of such an input.
        context: threads and settings of the device. None: the defaults.
        config_file: a file with the backend's own settings, relative to the directory of servable_config.py.
        backend: name of the backend to use. None: the first that can. A class that computes the model itself: see
            docs/backends.md.
        max_batch_size: the most instances in one run, an int >= 1. None: the model's batch size, or 64 where its batch
            dimension is dynamic.
        max_queue_delay: seconds that an instance may wait for others to share its run while the worker is idle.
        timeout: seconds that a run may take, greater than 0. A worker that takes longer is ended and another one
            started; the batch is run again in halves, and the instance that takes so long alone gets an error. None:
            the setting SERVOIR_STAGE_TIMEOUT.
        without_batch_dim_outputs: index of an output that has no batch dimension, or several: every instance gets the
            whole of it. Outputs that depend on no input are found without it.
        trial: made-up instances are run when the model is loaded, to see that the outputs of an instance depend on
            that instance alone. False: nothing made up is run and this is not checked, and instances of different
            clients may get each other's results if it does not hold.
        example: an instance that the model runs with, for its first run and its trial: a list or tuple with a value for
            each input, or a dict of values by the inputs' names; without batch dimension, of the first subgraph. Worth
            giving where made-up values say little, or are refused.

    Returns:
        The model, to be given to add_stage or called in a stage function.

    Raises:
        RuntimeError: an argument has the wrong type or value, or a file belongs to another model; the text names it.
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
    check.flag("trial", trial)
    if example is not None and (not isinstance(example, (list, tuple, Mapping)) or not example):
        raise check.refuse(
            "example", "a list or tuple with the inputs of an instance, a dict of them, or None", example
        )
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
        check.integer("max_batch_size", max_batch_size, 1, ceiling=LARGEST_BATCH)
    model = Model(
        files,
        model_format=model_format,
        with_batch_dim=with_batch_dim,
        without_batch_dim_inputs=_indices("without_batch_dim_inputs", without_batch_dim_inputs),
        without_batch_dim_outputs=_indices("without_batch_dim_outputs", without_batch_dim_outputs),
        trial=trial,
        example=example,
        context=context or from_options,
        config_file=config_file,
        backend=backend,
        max_batch_size=max_batch_size,
        max_queue_delay=check.seconds("max_queue_delay", max_queue_delay, LONGEST_QUEUE_DELAY),
        timeout=check.time_limit("timeout", timeout, LONGEST_TIME_LIMIT),
    )
    declarations.current().add_model(model)
    return model


def _indices(parameter: str, given: int | Sequence[int] | None) -> tuple[int, ...]:
    if given is None:
        return ()
    if isinstance(given, (list, tuple)):
        return check.integers(parameter, given, 0, ceiling=MOST_PORTS)
    return (check.integer(parameter, given, 0, ceiling=MOST_PORTS),)


def _check_class(backend: type) -> None:
    from servoir.servable import model_class  # only for those that have one: it needs numpy

    if problems := model_class.problems_of(backend):
        raise RuntimeError(
            f"Parameter 'backend': the class {backend.__name__} cannot run a model: {'; '.join(problems)}"
        )


def _context_of(options: object) -> Context:
    if not isinstance(options, DeprecatedOptions):
        raise check.refuse("options", "None, or AclOptions or GpuOptions (better: a Context as 'context')", options)
    context = Context()
    context.append_device_info(options)
    return context
