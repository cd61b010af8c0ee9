"""For servable_config.py: declares models, methods and their stages.

>>> from servoir.server import register
>>> model = register.declare_model(model_file="add.onnx")
>>> @register.register_method(output_names=["y"])
... def add(x1, x2):
...     return register.add_stage(model, x1, x2, outputs_count=1)
"""

from servoir.server.register.context import AscendDeviceInfo, Context, CPUDeviceInfo, GPUDeviceInfo
from servoir.server.register.method import add_stage, register_method
from servoir.server.register.model import Model, declare_model

__all__ = [
    "AscendDeviceInfo",
    "CPUDeviceInfo",
    "Context",
    "GPUDeviceInfo",
    "Model",
    "add_stage",
    "declare_model",
    "register_method",
]
