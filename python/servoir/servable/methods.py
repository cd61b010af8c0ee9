"""Methods: register_method runs the decorated function once, with placeholders, and add_stage records what it does."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

from servoir import check
from servoir.dtypes import DTYPES
from servoir.servable import declarations
from servoir.servable.declarations import DeclaredModel, FunctionCallee, Method, Stage
from servoir.servable.spec import LARGEST_BATCH, LONGEST_QUEUE_DELAY, LONGEST_TIME_LIMIT, MOST_PORTS

F = TypeVar("F", bound=Callable[..., Any])


class Placeholder:
    """Stands for a value of a method while the method's stages are recorded."""

    __slots__ = ("_index", "_method")

    def __init__(self, method: Method, index: int) -> None:
        self._method = method
        self._index = index

    def __repr__(self) -> str:
        if self._index < len(self._method.inputs):
            return f"<input '{self._method.inputs[self._index]}' of method '{self._method.name}'>"
        return f"<value {self._index} of method '{self._method.name}'>"

    # Operations that users try when they mistake the placeholder for a value.
    def _refuse(self, *_: Any) -> NoReturn:
        raise TypeError(self._refusal())

    def _refusal(self) -> str:
        return (
            f"{self!r} only stands for a value, there is none while the method is registered; compute in a function of"
            f" its own, and give that to add_stage"
        )

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refuse
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = __matmul__ = __rmatmul__ = _refuse
    __neg__ = __abs__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __len__ = __getitem__ = __call__ = _refuse
    __int__ = __float__ = __index__ = __array__ = _refuse

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # asked for by Python and libraries, to learn what this is
            raise AttributeError(name)
        raise AttributeError(f"there is no attribute '{name}': {self._refusal()}")

    def __iter__(self) -> NoReturn:
        raise TypeError(
            f"cannot unpack non-iterable {self!r}: it is one value; a stage gives several when"
            f" 'outputs_count' of its add_stage says how many"
        )


_KINDS = {
    inspect.Parameter.VAR_POSITIONAL: "collects positional arguments (*args)",
    inspect.Parameter.VAR_KEYWORD: "collects keyword arguments (**kwargs)",
    inspect.Parameter.KEYWORD_ONLY: "is keyword-only",
}


def _parameter_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Names of the positional parameters; RuntimeError where there are others."""
    parameters = inspect.signature(function).parameters.values()
    for parameter in parameters:
        if parameter.kind in _KINDS:
            raise RuntimeError(
                f"Function '{function.__name__}': its parameter '{parameter.name}' {_KINDS[parameter.kind]}; only plain"
                f" positional parameters are possible here"
            )
    return tuple(parameter.name for parameter in parameters)


def _value_index(method: Method, value: object, what: str) -> int:
    if not isinstance(value, Placeholder):
        raise RuntimeError(
            f"{what} should be an input of the method or an output of add_stage, but is of type {type(value).__name__}"
        )
    if value._method is not method:
        raise RuntimeError(f"{what} is {value!r}, which belongs to another method")
    return value._index


def register_method(
    output_names: str | Sequence[str], *, input_dtypes: Mapping[str, Any] | None = None
) -> Callable[[F], F]:
    """Decorator: makes a function a method of the servable. Its parameters are the names of the method's inputs.

    The function is run once, while servable_config.py is imported, to learn its stages. Its parameters are then
    placeholders, not values: it can only hand them to add_stage, and return them.

    Args:
        output_names: name of the output, or a list or tuple of different names, in the order in which the function
            returns them.
        input_dtypes: dtypes of inputs by their names, such as {"ids": "int64"}; names or types of numpy's. Numbers that
            have no type of their own (those of JSON) are taken for the dtype of their input. Inputs that go to models
            and nothing else have the dtype of these without it.

    Returns:
        The decorator, which returns the function as it was.

    Raises:
        RuntimeError: by the decorator: the function returns other than placeholders, or not as many as there are
            names; it has *args, **kwargs or keyword-only parameters; or its name is taken by another method.

    Example:
        >>> @register_method(output_names=["y"])
        ... def double_and_add(x1, x2):
        ...     doubled = add_stage(double, x1, outputs_count=1)
        ...     return add_stage(model, doubled, x2, outputs_count=1)
    """
    names = check.texts("output_names", output_names)
    dtypes = _dtypes(input_dtypes)

    def register(function: F) -> F:
        declared = declarations.current()
        if not inspect.isfunction(function):
            raise check.refuse("function", "a Python function to be decorated by register_method", function)
        name = function.__name__
        if name in declared.methods:
            raise RuntimeError(f"Method '{name}' is registered more than once")
        if declared.recording is not None:
            raise RuntimeError(f"Method '{name}' cannot be registered inside method '{declared.recording.name}'")
        inputs = _parameter_names(function)
        if unknown := [repr(key) for key in dtypes if key not in inputs]:
            raise RuntimeError(
                f"Parameter 'input_dtypes' of register_method has {', '.join(unknown)}, but the inputs of method"
                f" '{name}' are {', '.join(map(repr, inputs)) or 'none'}"
            )
        method = Method(name, inputs, names, tuple(dtypes.get(key) for key in inputs), values=len(inputs))
        declared.recording = method
        known_functions = len(declared.functions)
        try:
            returned = function(*(Placeholder(method, index) for index in range(len(inputs))))
            outputs = returned if isinstance(returned, tuple) else (returned,)
            method.outputs = tuple(
                _value_index(method, value, f"Method '{name}': value {number} that it returns")
                for number, value in enumerate(outputs, 1)
            )
            if len(method.outputs) != len(names):
                raise RuntimeError(
                    f"Method '{name}' returns {len(method.outputs)} values, but parameter 'output_names' of"
                    f" register_method has {len(names)}"
                )
        except BaseException:
            del declared.functions[known_functions:]
            raise
        finally:
            declared.recording = None
        declared.methods[name] = method
        return function

    return register


def _dtypes(given: Mapping[str, Any] | None) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise check.refuse("input_dtypes", 'None, or a dict such as {"ids": "int64"}', given)
    from servoir.servable import ports  # only for those that have some: it needs numpy

    wrong: list[str] = []
    dtypes = {name: ports.dtype_name(dtype, DTYPES, f"input {name!r}", wrong) for name, dtype in given.items()}
    if wrong or None in dtypes.values():
        raise RuntimeError(f"Parameter 'input_dtypes': {'; '.join(wrong) or 'a dtype is None; leave the input out'}")
    return {name: dtype for name, dtype in dtypes.items() if dtype is not None}


def add_stage(
    stage: Callable[..., Any] | DeclaredModel,
    *args: Any,
    outputs_count: int | None = None,
    batch_size: int | None = None,
    tag: str | None = None,
    max_queue_delay: float = 0.0,
    rerun: bool = True,
    timeout: float | None = None,
    outputs: str | Sequence[str] | None = None,
) -> Any:
    """Adds a stage to the method that is being registered.

    Args:
        stage: a Python function, or a model from declare_model.
        args: inputs of the method and outputs of earlier stages, at least one, each as often as wanted.
        outputs_count: how many values the stage gives for an instance, an int >= 1. Of a model, the number of its
            outputs.
        batch_size: for functions. None: the function is called for each instance, with its inputs as arguments.
            n >= 1: it is called with a tuple of at most n instances, each a tuple of inputs, and returns or yields one
            result for each. 0: the same, with the batch size of the method's models. Models have their own.
        tag: name of the stage in error texts. None: the name of the function or model.
        max_queue_delay: seconds that an instance may wait for others to share its call while a worker is idle. For
            functions; models have it in declare_model.
        rerun: for functions. A batch that fails is run again in halves, so that only the instances that cause the
            failure get an error. False: the function has effects that must not happen twice; the error is that of all
            instances of the batch.
        timeout: for functions; models have it in declare_model. Seconds that a call may take, greater than 0. A worker
            that takes longer is ended and another one started; the batch is run again in halves, and the instance that
            takes so long alone gets an error. None: the setting SERVOIR_STAGE_TIMEOUT.
        outputs: for models, in place of outputs_count. The name of the output that the stage gives, or several, in the
            order in which they are wanted; the model may have others.

    Returns:
        A placeholder for the output, or a tuple of placeholders where there are several.

    Raises:
        RuntimeError: an argument is wrong, or does not agree with another stage of the same function or model.
    """
    declared = declarations.current()
    method = declared.recording
    if method is None:
        raise RuntimeError("add_stage is possible only inside a function that is decorated by register_method")
    picked = None if outputs is None else check.texts("outputs", outputs)
    if picked is not None:
        if not isinstance(stage, DeclaredModel):
            raise RuntimeError(
                "Parameter 'outputs' of add_stage is for models, whose outputs have names; of a function,"
                " 'outputs_count' says how many values it returns"
            )
        if outputs_count not in (None, len(picked)):
            raise RuntimeError(
                f"Parameter 'outputs_count' of add_stage is {outputs_count}, but 'outputs' names {len(picked)}; one of"
                f" them is enough"
            )
        outputs_count = len(picked)
    if outputs_count is None:
        raise TypeError("add_stage() missing 1 required keyword-only argument: 'outputs_count'")
    check.integer("outputs_count", outputs_count, 1, ceiling=MOST_PORTS)
    if batch_size is not None:
        check.integer("batch_size", batch_size, 0, ceiling=LARGEST_BATCH)
    if tag is not None:
        check.text("tag", tag)
    delay = check.seconds("max_queue_delay", max_queue_delay, LONGEST_QUEUE_DELAY)
    check.flag("rerun", rerun)
    limit = check.time_limit("timeout", timeout, LONGEST_TIME_LIMIT)
    inputs = tuple(
        _value_index(method, value, f"Parameter 'args' of add_stage in method '{method.name}': argument {number}")
        for number, value in enumerate(args, 1)
    )
    if not inputs:
        raise RuntimeError(f"Parameter 'args' of add_stage in method '{method.name}': a stage needs at least one input")
    callee: FunctionCallee | DeclaredModel
    if isinstance(stage, DeclaredModel):
        if delay:
            raise RuntimeError(
                "Parameter 'max_queue_delay' of add_stage is for functions; a model has it in declare_model"
            )
        if limit is not None:
            raise RuntimeError("Parameter 'timeout' of add_stage is for functions; a model has it in declare_model")
        if not rerun:
            raise RuntimeError("Parameter 'rerun' of add_stage is for functions; a model has no effects")
        declared.model_callee(stage, 0)
        declared.check_model_stage(stage, len(inputs), outputs_count if picked is None else None)
        callee = stage
    elif inspect.isfunction(stage) or inspect.ismethod(stage):
        callee = declared.add_function(
            _function_callee(method, stage, inputs, outputs_count, batch_size, delay, limit, rerun)
        )
    elif isinstance(stage, str):
        raise RuntimeError(
            f"Parameter 'stage': there is no built-in function {stage!r}; give a Python function or a model"
        )
    else:
        raise check.refuse("stage", "a Python function or a model from declare_model", stage)
    first = method.values
    method.stages.append(Stage(callee, inputs, first, outputs_count, tag, picked))
    method.values += outputs_count
    values = tuple(Placeholder(method, first + index) for index in range(outputs_count))
    return values[0] if outputs_count == 1 else values


def _function_callee(
    method: Method,
    function: Callable[..., Any],
    inputs: tuple[int, ...],
    outputs: int,
    batch_size: int | None,
    max_queue_delay: float,
    timeout: float | None,
    rerun: bool,
) -> FunctionCallee:
    name = function.__name__
    parameters = _parameter_names(function)
    if batch_size is None and len(parameters) != len(inputs):
        raise RuntimeError(
            f"Function '{name}' has {len(parameters)} parameters, but the stage in method '{method.name}' gives it"
            f" {len(inputs)} inputs"
        )
    if batch_size is not None and len(parameters) != 1:
        raise RuntimeError(
            f"Function '{name}' has {len(parameters)} parameters, but with batch_size={batch_size} a function has one,"
            f" the instances"
        )
    sized = batch_size == 0
    return FunctionCallee(
        function,
        name,
        len(inputs),
        outputs,
        batch_size,
        sized_by=method if sized else None,
        smallest=sized and all(value < len(method.inputs) for value in inputs),
        max_queue_delay=max_queue_delay,
        timeout=timeout,
        rerun=rerun,
    )
