"""A servable as it was written before the names of today, with nothing changed but the import."""

import numpy as np
from servoir.server import register

register.declare_servable(
    servable_file="pairs.onnx",
    model_format="ONNX",
    with_batch_dim=True,
    options=register.GpuOptions(precision_mode="origin"),
)


def to_float(x1, x2):
    return x1.astype(np.float32), x2.astype(np.float32)


def to_int(y):
    return y.astype(np.int32)


def to_float_in_batches(instances):
    for x1, x2 in instances:
        yield x1.astype(np.float32), x2.astype(np.float32)


def count_in_batches(instances):
    for (y,) in instances:
        yield y.astype(np.int32), np.int64(len(instances))


@register.register_method(output_names=["y"])
def add_cast(x1, x2):
    x1, x2 = register.call_preprocess(to_float, x1, x2)
    y = register.call_servable(x1, x2)
    y = register.call_postprocess(to_int, y)
    return y  # noqa: RET504


@register.register_method(output_names=["y", "batch"])
def add_pipelines(x1, x2):
    x1, x2 = register.call_preprocess_pipeline(to_float_in_batches, x1, x2)
    y = register.call_servable(x1, x2)
    return register.call_postprocess_pipeline(count_in_batches, y)
