"""Names of the predecessor's older versions, for servable_config.py files that still have them. All warn.

    declare_servable(file, …)               declare_model
    call_preprocess(f, x), call_postprocess add_stage of f, called for one instance
    call_preprocess_pipeline(f, x), …       add_stage of f with batch_size=0: called with the instances of a batch
    call_servable(x)                        add_stage of the servable's only model
    AclOptions, GpuOptions                  AscendDeviceInfo, GPUDeviceInfo; for the parameter `options`

These calls never said how many outputs a stage has: as many as the caller takes from the call. The count is read from
the instruction that follows the call: `a, b = call_preprocess(f, x)` has two, `return call_postprocess(f, x)` as many
as the method has outputs, all else one.
"""

from __future__ import annotations

import dis
import sys
import warnings
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

from servoir.servable import declarations, methods
from servoir.servable.context import AscendDeviceInfo, DeprecatedOptions, GPUDeviceInfo
from servoir.servable.methods import add_stage
from servoir.servable.models import Model, declare_model

if TYPE_CHECKING:
    from typing_extensions import Unpack  # typing has it from Python 3.11

    from servoir.servable.context import AscendOptions, PrecisionOptions

_TO_CALLER = 3  # stacklevel of a warning: _warn, the deprecated name, its caller


def _warn(name: str, since: str, instead: str) -> None:
    warnings.warn(
        f"'{name}' is deprecated since {since}, use {instead} instead", DeprecationWarning, stacklevel=_TO_CALLER
    )


class AclOptions(AscendDeviceInfo, DeprecatedOptions):
    """Deprecated: a Context with an AscendDeviceInfo."""

    def __init__(self, **kwargs: Unpack[AscendOptions]) -> None:
        _warn("AclOptions", "1.6", "a Context with an AscendDeviceInfo")
        super().__init__(**kwargs)


class GpuOptions(GPUDeviceInfo, DeprecatedOptions):
    """Deprecated: a Context with a GPUDeviceInfo."""

    def __init__(self, **kwargs: Unpack[PrecisionOptions]) -> None:
        _warn("GpuOptions", "1.6", "a Context with a GPUDeviceInfo")
        super().__init__(**kwargs)


def declare_servable(
    servable_file: str | Sequence[str],
    model_format: str | None = None,
    with_batch_dim: bool = True,
    options: AclOptions | GpuOptions | None = None,
    without_batch_dim_inputs: int | Sequence[int] | None = None,
) -> Model:
    """Deprecated: declare_model."""
    _warn("declare_servable", "1.5", "declare_model")
    return declare_model(
        servable_file,
        model_format,
        with_batch_dim,
        options=options,
        without_batch_dim_inputs=without_batch_dim_inputs,
    )


def call_preprocess(preprocess_fun: Callable[..., Any], *args: Any) -> Any:
    """Deprecated: add_stage of a function that is called for one instance."""
    _warn("call_preprocess", "1.5", "add_stage")
    return add_stage(
        preprocess_fun, *args, outputs_count=_wanted(sys._getframe(1), "call_preprocess"), tag="Preprocess"
    )


def call_preprocess_pipeline(preprocess_fun: Callable[..., Any], *args: Any) -> Any:
    """Deprecated: add_stage of a function that is called with the instances of a batch."""
    _warn("call_preprocess_pipeline", "1.5", "add_stage with batch_size")
    count = _wanted(sys._getframe(1), "call_preprocess_pipeline")
    return add_stage(preprocess_fun, *args, outputs_count=count, batch_size=0, tag="Preprocess")


def call_postprocess(postprocess_fun: Callable[..., Any], *args: Any) -> Any:
    """Deprecated: add_stage of a function that is called for one instance."""
    _warn("call_postprocess", "1.5", "add_stage")
    return add_stage(
        postprocess_fun, *args, outputs_count=_wanted(sys._getframe(1), "call_postprocess"), tag="Postprocess"
    )


def call_postprocess_pipeline(postprocess_fun: Callable[..., Any], *args: Any) -> Any:
    """Deprecated: add_stage of a function that is called with the instances of a batch."""
    _warn("call_postprocess_pipeline", "1.5", "add_stage with batch_size")
    count = _wanted(sys._getframe(1), "call_postprocess_pipeline")
    return add_stage(postprocess_fun, *args, outputs_count=count, batch_size=0, tag="Postprocess")


def call_servable(*args: Any) -> Any:
    """Deprecated: add_stage of the servable's only model."""
    _warn("call_servable", "1.5", "add_stage")
    models = list(declarations.current().models.values())
    if len(models) != 1:
        there = ", ".join(f"'{model.key}'" for model in models) or "none"
        raise RuntimeError(
            f"call_servable needs exactly one model that is declared before, but there are {len(models)} ({there}); use"
            f" add_stage with the model that is meant"
        )
    return add_stage(models[0], *args, outputs_count=_wanted(sys._getframe(1), "call_servable"))


def _wanted(frame: FrameType, name: str) -> int:
    """How many values are taken from the call that `frame` is just making."""
    recording = declarations.current().recording
    while recording is not None:
        operation, number = _after_call(frame)
        if operation == "UNPACK_SEQUENCE":
            return number
        if operation in ("UNPACK_EX", "CALL_FUNCTION_EX", "LIST_EXTEND"):
            raise RuntimeError(
                f"{name} in method '{recording.name}': how many outputs the stage has cannot be told from a starred"
                f" expression; give each output a name, 'a, b = register.{name}(…)', or use add_stage"
            )
        if operation != "RETURN_VALUE" or frame.f_back is None:
            return 1
        if frame.f_back.f_code.co_filename == methods.__file__:  # register_method runs this function
            return len(recording.output_names)
        frame = frame.f_back
    return 1  # add_stage says that this is no method


def _after_call(frame: FrameType) -> tuple[str, int]:
    """The next instruction after the current, and its number."""
    ahead = [
        instruction
        for instruction in dis.get_instructions(frame.f_code)
        if instruction.offset > frame.f_lasti and instruction.opname not in ("CACHE", "EXTENDED_ARG", "NOP")
    ]
    # Python 3.14 puts an empty place for keywords before the call of f(*…).
    if len(ahead) > 1 and (ahead[0].opname, ahead[1].opname) == ("PUSH_NULL", "CALL_FUNCTION_EX"):
        del ahead[0]
    return (ahead[0].opname, ahead[0].arg or 0) if ahead else ("", 0)
