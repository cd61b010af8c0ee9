"""Methods: register_method runs the decorated function once, with placeholders, and add_stage records what it does."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

from servoir import check
from servoir.server.register import declarations
from servoir.server.register.declarations import FunctionCallee, Method, Stage
from servoir.server.register.model import Model

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

    # What users try with one, who take it for the value.
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


def register_method(output_names: str | Sequence[str]) -> Callable[[F], F]:
    """Decorator: the function becomes a method of the servable; its parameters are the method's inputs.

    The function is run once, at once, to learn its stages; it returns one value or a tuple of values, as many as
    `output_names`.
    """
    names = check.texts("output_names", output_names)

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
        method = Method(name, inputs, names, values=len(inputs))
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


def add_stage(
    stage: Callable[..., Any] | Model,
    *args: Any,
    outputs_count: int,
    batch_size: int | None = None,
    tag: str | None = None,
    max_queue_delay: float = 0.0,
) -> Any:
    """Adds a stage to the method that is being registered; returns its output, or a tuple of several.

    Args:
        stage: a Python function, or a model from declare_model.
        args: inputs of the method or outputs of earlier stages.
        outputs_count: how many values the stage gives for an instance.
        batch_size: None: the function is called for one instance, with its inputs. n >= 1: it is called with a tuple of
            at most n instances, each a tuple of inputs, and returns or yields one result for each. 0: the same, with
            the batch size of the method's models. Models have their own.
        tag: name of the stage in error texts.
        max_queue_delay: seconds that an instance may wait for others to share its call while a worker is idle. Models
            have it in declare_model.
    """
    declared = declarations.current()
    method = declared.recording
    if method is None:
        raise RuntimeError("add_stage is possible only inside a function that is decorated by register_method")
    check.integer("outputs_count", outputs_count, 1)
    if batch_size is not None:
        check.integer("batch_size", batch_size, 0)
    if tag is not None:
        check.text("tag", tag)
    delay = check.number("max_queue_delay", max_queue_delay, 0)
    inputs = tuple(
        _value_index(method, value, f"Parameter 'args' of add_stage in method '{method.name}': argument {number}")
        for number, value in enumerate(args, 1)
    )
    if not inputs:
        raise RuntimeError(f"Parameter 'args' of add_stage in method '{method.name}': a stage needs at least one input")
    callee: FunctionCallee | Model
    if isinstance(stage, Model):
        if delay:
            raise RuntimeError(
                "Parameter 'max_queue_delay' of add_stage is for functions; a model has it in declare_model"
            )
        declared.model_callee(stage, 0)
        declared.check_model_stage(stage, len(inputs), outputs_count)
        callee = stage
    elif inspect.isfunction(stage) or inspect.ismethod(stage):
        callee = declared.add_function(_function_callee(method, stage, inputs, outputs_count, batch_size, delay))
    elif isinstance(stage, str):
        raise RuntimeError(
            f"Parameter 'stage': there is no built-in function {stage!r}; give a Python function or a model"
        )
    else:
        raise check.refuse("stage", "a Python function or a model from declare_model", stage)
    first = method.values
    method.stages.append(Stage(callee, not isinstance(stage, Model), inputs, first, outputs_count, tag))
    method.values += outputs_count
    outputs = tuple(Placeholder(method, first + index) for index in range(outputs_count))
    return outputs[0] if outputs_count == 1 else outputs


def _function_callee(
    method: Method,
    function: Callable[..., Any],
    inputs: tuple[int, ...],
    outputs: int,
    batch_size: int | None,
    max_queue_delay: float,
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
    )
