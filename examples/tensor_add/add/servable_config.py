"""Adds two tensors: as they come, and with a Python stage that casts them first."""

import numpy as np
from servoir.server import register

model = register.declare_model(model_file="tensor_add.onnx", model_format="ONNX", with_batch_dim=True)


def cast_to_float32(x1, x2):
    """One instance: two arrays of any number type in, two float32 arrays out."""
    return x1.astype(np.float32), x2.astype(np.float32)


@register.register_method(output_names=["y"])
def add_common(x1, x2):
    """float32 [2, 2] each."""
    return register.add_stage(model, x1, x2, outputs_count=1)


@register.register_method(output_names=["y"])
def add_cast(x1, x2):
    """[2, 2] each, of any number type."""
    x1, x2 = register.add_stage(cast_to_float32, x1, x2, outputs_count=2)
    return register.add_stage(model, x1, x2, outputs_count=1)
