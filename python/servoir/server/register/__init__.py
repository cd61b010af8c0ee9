"""For servable_config.py: declares models, methods and their stages.

>>> from servoir.server import register
>>> model = register.declare_model(model_file="add.onnx")
>>> @register.register_method(output_names=["y"])
... def add(x1, x2):
...     return register.add_stage(model, x1, x2, outputs_count=1)
"""

from servoir.servable.context import AscendDeviceInfo, Context, CPUDeviceInfo, GPUDeviceInfo
from servoir.servable.deprecated import (
    AclOptions,
    GpuOptions,
    call_postprocess,
    call_postprocess_pipeline,
    call_preprocess,
    call_preprocess_pipeline,
    call_servable,
    declare_servable,
)
from servoir.servable.methods import add_stage, register_method
from servoir.servable.models import Model, declare_model

__all__ = [
    "AclOptions",
    "AscendDeviceInfo",
    "CPUDeviceInfo",
    "Context",
    "GPUDeviceInfo",
    "GpuOptions",
    "Model",
    "add_stage",
    "call_postprocess",
    "call_postprocess_pipeline",
    "call_preprocess",
    "call_preprocess_pipeline",
    "call_servable",
    "declare_model",
    "declare_servable",
    "register_method",
]
