"""A multi-layer perceptron, 784-256-10: a handwritten digit in, ten scores out."""

import numpy as np
from servoir.server import register

model = register.declare_model(model_file="mlp.onnx", model_format="ONNX", with_batch_dim=True)


def best_of(instances):
    """Many instances at once: `instances` is a tuple of instances, each a tuple of the stage's inputs."""
    scores = np.stack([y for (y,) in instances])
    for digit in scores.argmax(axis=1):
        yield digit.astype(np.int32)


@register.register_method(output_names=["y"])
def predict(x):
    """x: float32 [784]; y: float32 [10]."""
    return register.add_stage(model, x, outputs_count=1)


@register.register_method(output_names=["digit", "y"])
def classify(x):
    """x: float32 [784]; digit: int32, the index of the largest score; y: the scores, float32 [10]."""
    y = register.add_stage(model, x, outputs_count=1)
    digit = register.add_stage(best_of, y, outputs_count=1, batch_size=32)
    return digit, y
