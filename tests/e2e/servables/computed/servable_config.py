"""Models that are classes: one with files, one without, and a function that calls one of them."""

import os

import numpy as np
from servoir.server import register


class Linear:
    """y = x W + b, weights from files; refuses x with a 666 in it."""

    inputs = [{"name": "x", "dtype": "float32", "shape": [-1, 3]}]
    outputs = [{"name": "y", "dtype": "float32", "shape": [-1, 2]}, {"name": "rows", "dtype": "int64", "shape": [-1]}]

    def __init__(self, files, threads):
        assert threads >= 1
        self.weights, self.bias = (np.load(file) for file in files)

    def execute(self, inputs):
        (x,) = inputs
        if (x == 666).any():
            raise ValueError("666 is not served here")
        return [x @ self.weights + self.bias, np.full(len(x), len(x))]


class Process:
    """The process that runs it."""

    inputs = [{"name": "any", "dtype": None, "shape": None}]
    outputs = [{"name": "process", "dtype": "int64", "shape": [-1]}]

    def execute(self, inputs):
        return [np.full(len(inputs[0]), os.getpid())]


# It tells how many rows a batch has, which a trial would refuse.
linear = register.declare_model(["weights.npy", "bias.npy"], "Python", backend=Linear, max_batch_size=4, trial=False)
process = register.declare_model(backend=Process)
again = register.declare_model(backend=Process)


@register.register_method(output_names=["y", "rows"])
def apply(x):
    return register.add_stage(linear, x, outputs_count=2)


@register.register_method(output_names=["one", "other"])
def where(x):
    return register.add_stage(process, x, outputs_count=1), register.add_stage(again, x, outputs_count=1)


def both(x):
    return sum(y[0] for y, _ in linear.call([[x], [2 * x]]))


@register.register_method(output_names=["sum"])
def by_call(x):
    return register.add_stage(both, x, outputs_count=1)
