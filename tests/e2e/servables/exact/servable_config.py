"""Models whose arithmetic is exact in float32 for small integers: answers must not depend on the batch, bit by bit."""

import numpy as np
from servoir.server import register

dynamic = register.declare_model(model_file="dynamic.onnx", model_format="ONNX", with_batch_dim=True)
fixed = register.declare_model(model_file="fixed.onnx", model_format="ONNX", with_batch_dim=True)


@register.register_method(output_names=["y", "total"])
def multiply(x):
    """x: float32 [16]; y: float32 [24]; total: float32 []. Any batch size."""
    return register.add_stage(dynamic, x, outputs_count=2)


@register.register_method(output_names=["y", "total"])
def multiply_by_four(x):
    """The same by a model of batch size 4."""
    return register.add_stage(fixed, x, outputs_count=2)


def to_float(x):
    return x.astype(np.float32)


def negate(instances):
    return [-y for (y,) in instances]


@register.register_method(output_names=["y", "minus"])
def composite(x):
    """Python, model, Python in batches, model again on the result's first 16 numbers."""
    x = register.add_stage(to_float, x, outputs_count=1)
    y, _ = register.add_stage(dynamic, x, outputs_count=2)
    minus = register.add_stage(negate, y, outputs_count=1, batch_size=16)
    return y, minus


def call_with_rows(rows):
    return np.stack([y for y, _ in dynamic.call([[row] for row in rows])])


@register.register_method(output_names=["y"])
def call_many(rows):
    """rows: float32 [n, 16]: n instances by one Model.call."""
    return register.add_stage(call_with_rows, rows, outputs_count=1)


def call_with_one(x):
    y, total = fixed.call(x)
    return y, total


@register.register_method(output_names=["y", "total"])
def call_one(x):
    return register.add_stage(call_with_one, x, outputs_count=2)


def call_wrongly(x):
    try:
        dynamic.call(x, x)
    except RuntimeError as error:
        return str(error)
    return "no error"


@register.register_method(output_names=["text"])
def call_badly(x):
    return register.add_stage(call_wrongly, x, outputs_count=1)
