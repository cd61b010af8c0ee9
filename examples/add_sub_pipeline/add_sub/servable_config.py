"""Two models in one servable: in a pipeline of stages, and called from Python functions.

add_sub:       x1, x2 ─▶ add model ─▶ + ─┐
               x3 ───────────────────────┴▶ sub model ─▶ y
add_sub_cast:  x1, x2, x3 ─▶ cast ─▶ add model ─▶ sub model ─▶ round_to_int ─▶ y
add_sub_call:  x1, x2, x3 ─▶ add_then_sub, which calls both models ─▶ y
add_all:       xs ─▶ sum_of_all, which calls the add model with as many pairs as there are ─▶ y, calls
"""

import numpy as np
from servoir.server import register

add_model = register.declare_model(model_file="tensor_add.onnx", model_format="ONNX", with_batch_dim=True)
sub_model = register.declare_model(model_file="tensor_sub.onnx", model_format="ONNX", with_batch_dim=True)


def cast(x1, x2, x3):
    """One instance: any number types in, float32 out."""
    return x1.astype(np.float32), x2.astype(np.float32), x3.astype(np.float32)


def round_to_int(instances):
    """Many instances at once, each a tuple with one input; one result for each, in the same order."""
    for (y,) in instances:
        yield np.rint(y).astype(np.int32)


def add_then_sub(x1, x2, x3):
    """The same as the pipeline, written as a function: each call waits for its result."""
    return sub_model.call(add_model.call(x1, x2), x3)


def sum_of_all(xs):
    """xs: [n, 2, 2]. Adds pairs, then pairs of the sums, and so on; all pairs of a round are instances of one call."""
    terms = list(xs)
    calls = 0
    while len(terms) > 1:
        pairs = [(terms[i], terms[i + 1]) for i in range(0, len(terms) - 1, 2)]
        sums = [y for (y,) in add_model.call(pairs)]
        terms = sums + terms[2 * len(pairs) :]
        calls += 1
    return terms[0], np.int32(calls)


@register.register_method(output_names=["y"])
def add_sub(x1, x2, x3):
    """float32 [2, 2] each; y = x1 + x2 - x3."""
    total = register.add_stage(add_model, x1, x2, outputs_count=1)
    return register.add_stage(sub_model, total, x3, outputs_count=1)


@register.register_method(output_names=["y"])
def add_sub_cast(x1, x2, x3):
    """[2, 2] each, of any number type; y: int32."""
    x1, x2, x3 = register.add_stage(cast, x1, x2, x3, outputs_count=3, tag="Cast")
    total = register.add_stage(add_model, x1, x2, outputs_count=1)
    y = register.add_stage(sub_model, total, x3, outputs_count=1)
    return register.add_stage(round_to_int, y, outputs_count=1, batch_size=16)


@register.register_method(output_names=["y"])
def add_sub_call(x1, x2, x3):
    """float32 [2, 2] each; y = x1 + x2 - x3."""
    return register.add_stage(add_then_sub, x1, x2, x3, outputs_count=1)


@register.register_method(output_names=["y", "calls"])
def add_all(xs):
    """xs: float32 [n, 2, 2], n >= 1; y: their sum; calls: how many calls of the model that took."""
    y, calls = register.add_stage(sum_of_all, xs, outputs_count=2)
    return y, calls
