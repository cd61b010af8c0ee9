"""W1: float32 [16] plus 1 in a Python stage. `predict_single` is the same without batching."""

import numpy as np
from servoir.server import register

ONE = np.float32(1)


def add_one(instances):
    return [x + ONE for (x,) in instances]


def add_one_alone(instances):
    return [x + ONE for (x,) in instances]


@register.register_method(output_names=["y"])
def predict(x):
    return register.add_stage(add_one, x, outputs_count=1, batch_size=64)


@register.register_method(output_names=["y"])
def predict_single(x):
    return register.add_stage(add_one_alone, x, outputs_count=1, batch_size=1)
