"""Stages and model calls: batches, order, models with and without a batch dimension."""

import os
import sys
import threading
import time

import numpy as np
from servoir.server import register

pairs = register.declare_model("pairs.onnx", "ONNX")  # batch size 2
fives = register.declare_model("fives.onnx", "ONNX")  # batch size 5
scaled = register.declare_model("scaled.onnx", "ONNX", without_batch_dim_inputs=1)
whole = register.declare_model("whole.onnx", "ONNX", with_batch_dim=False)
graphs = register.declare_model(["negate.onnx", "both.onnx"], "ONNX")
stranger = register.Model(
    ("stranger.onnx",),
    model_format=None,
    with_batch_dim=True,
    without_batch_dim_inputs=(),
    context=None,
    config_file=None,
    backend=None,
    max_batch_size=None,
    max_queue_delay=0,
)


def describe_module(x):
    del x
    return __name__, sys.path[-1], sys.executable, os.environ.get("SERVING_DEVICE_ID", "")


@register.register_method(output_names=["module", "path", "executable", "device"])
def module(x):
    return register.add_stage(describe_module, x, outputs_count=4)


# ---- models as stages


@register.register_method("y")
def add_pairs(a, b):
    return register.add_stage(pairs, a, b, outputs_count=1)


@register.register_method("y")
def add_three(a, b, c):
    """The same model in two stages."""
    return register.add_stage(pairs, register.add_stage(pairs, a, b, outputs_count=1), c, outputs_count=1)


@register.register_method("y")
def scale(x, factor):
    return register.add_stage(scaled, x, factor, outputs_count=1)


@register.register_method("y")
def add_whole(a, b):
    return register.add_stage(whole, a, b, outputs_count=1)


@register.register_method("y")
def first_subgraph(x):
    return register.add_stage(graphs, x, outputs_count=1)


# ---- functions


def count_start(instances):
    return [(x, np.int64(len(instances))) for (x,) in instances]


def count_end(instances):
    return [np.int64(len(instances)) for _ in instances]


@register.register_method(output_names=["start", "end"])
def counts(x):
    """batch_size=0 before models of batch sizes 2 and 5, and after them."""
    y, start = register.add_stage(count_start, x, outputs_count=2, batch_size=0)
    y = register.add_stage(pairs, y, y, outputs_count=1)
    y = register.add_stage(fives, y, y, outputs_count=1)
    return start, register.add_stage(count_end, y, outputs_count=1, batch_size=0)


def count_alone(instances):
    return [np.int64(len(instances)) for _ in instances]


@register.register_method(output_names=["batch"])
def counts_without_models(x):
    return register.add_stage(count_alone, x, outputs_count=1, batch_size=0)


def look_at_batch(instances):
    kinds = f"{type(instances).__name__} of {type(instances[0]).__name__} of {len(instances[0])}"
    return tuple((kinds,) for _ in instances)


@register.register_method(output_names=["kinds"])
def batch_kinds(x):
    return register.add_stage(look_at_batch, x, outputs_count=1, batch_size=3)


def use_one_of_three(a, b, c):
    del a, c
    return b


@register.register_method(output_names=["y", "again"])
def reuse(a, unused):
    """One input three times in a stage, and straight to an output; an input that no stage uses."""
    return register.add_stage(use_one_of_three, a, a, a, outputs_count=1), a


def wait_until_released(directory):
    with open(os.path.join(directory, "held"), "w"):
        pass
    while not os.path.exists(os.path.join(directory, "release")):
        time.sleep(0.005)
    return 1


@register.register_method("y")
def hold(directory):
    """Keeps the worker's Python thread busy until the test says so."""
    return register.add_stage(wait_until_released, directory, outputs_count=1)


threads: list = []
runs: list = []


def early(x):
    threads.append(threading.get_ident())
    runs.append(("early", int(x)))
    return x


def late(instances):
    threads.append(threading.get_ident())
    runs.extend(("late", int(x)) for (x,) in instances)
    return [x for (x,) in instances]


def early_alone(instances):
    return [early(x) for (x,) in instances]


@register.register_method("x")
def in_order(x):
    y = register.add_stage(early_alone, x, outputs_count=1, batch_size=1)
    return register.add_stage(late, y, outputs_count=1, batch_size=1)


def tell_runs(x):
    del x
    text = ",".join(f"{name}{number}" for name, number in runs)
    different = len({*threads, threading.get_ident()})
    runs.clear()
    return text, different


@register.register_method(output_names=["runs", "threads"])
def history(x):
    return register.add_stage(tell_runs, x, outputs_count=2)


def arrays_are_mine(x):
    good = x.flags.writeable and x.flags.c_contiguous
    x += 1
    return bool(good), np.asfortranarray(np.stack([x, x]))[:, ::2]


def add_ten(good, x):
    del good
    return x + 10


@register.register_method(output_names=["good", "strided", "later"])
def arrays(x):
    good, strided = register.add_stage(arrays_are_mine, x, outputs_count=2)
    # After the first stage, for it needs a result of it.
    return good, strided, register.add_stage(add_ten, good, x, outputs_count=1)


def misbehave(instances):
    """What the instances say: results too many or too few, of the wrong number or kind, exceptions."""
    for number, (word,) in enumerate(instances):
        if word == "stop":
            return
        if word == "raise":
            raise ValueError(f"instance {number} wants it so")
        if word == "two":
            yield 1, 2
        elif word == "none":
            yield None
        elif word == "complex":
            yield 1j
        else:
            yield [word]
    for _ in range(3):
        yield "too much"


@register.register_method(output_names=["y"])
def misbehaviour(word):
    return register.add_stage(misbehave, word, outputs_count=1, batch_size=16)


def fail_at_once(instances):
    if any(word == "bad" for (word,) in instances):
        raise ValueError("not this batch")
    return [word for (word,) in instances]


@register.register_method(output_names=["y"])
def failing_list(word):
    return register.add_stage(fail_at_once, word, outputs_count=1, batch_size=16)


# ---- Model.call


def call_alone(a, b):
    return pairs.call(a, b)


@register.register_method("y")
def call_one(a, b):
    return register.add_stage(call_alone, a, b, outputs_count=1)


def call_forms(x):
    one = graphs.call(x)
    several = graphs.call(x, one, subgraph=1)
    many = graphs.call([[x], (one,), [x]])
    many_two = graphs.call(([x, x], (one, x)), subgraph=1)
    kinds = "; ".join(
        [
            type(one).__name__,
            f"{type(several).__name__} of {len(several)}",
            f"{type(many).__name__} of {len(many)}, each {type(many[0]).__name__} of {len(many[0])}",
            f"{type(many_two).__name__} of {len(many_two)}, each {type(many_two[1]).__name__} of {len(many_two[1])}",
        ]
    )
    return kinds, np.stack([one, several[0], several[1], many[1][0], many_two[1][0], many_two[1][1]])


@register.register_method(output_names=["kinds", "values"])
def forms(x):
    return register.add_stage(call_forms, x, outputs_count=2)


def call_often(instances):
    """In loops and branches, several models, from a function with a batch."""
    for x, count in instances:
        total = x
        for step in range(int(count)):
            if step % 3 == 2:
                total = graphs.call(total)
            else:
                total = (pairs if step % 3 == 0 else fives).call(total, x)
        yield total


@register.register_method("y")
def loop(x, count):
    return register.add_stage(call_often, x, count, outputs_count=1, batch_size=8)


def add_many(rows):
    return np.stack([y for (y,) in pairs.call([[row, row] for row in rows])])


@register.register_method("y")
def call_many(rows):
    return register.add_stage(add_many, rows, outputs_count=1)


class HasAsNumpy:
    def __init__(self, value):
        self.value = value

    def asnumpy(self):
        return self.value


def call_with_kinds(x):
    """Whatever a stage may return may be an input: here an array that is not contiguous, and what has asnumpy()."""
    return pairs.call(np.repeat(x, 2)[::2], HasAsNumpy(x))


@register.register_method("y")
def call_kinds(x):
    return register.add_stage(call_with_kinds, x, outputs_count=1)


def call_with_shapes(x):
    """Size and type count, not shape, also within one call."""
    column, row = x.reshape(2, 1), x.reshape(1, 2)
    return np.stack([pairs.call(row, column), *(y for (y,) in pairs.call([[x, row], [column, x], [row, row]]))])


@register.register_method("y")
def call_shapes(x):
    return register.add_stage(call_with_shapes, x, outputs_count=1)


BAD_CALLS = {
    "no argument": lambda x: pairs.call(),
    "empty list": lambda x: pairs.call([]),
    "an instance is no list": lambda x: pairs.call([[x, x], x]),
    "wrong count": pairs.call,
    "wrong count in a list": lambda x: pairs.call([[x, x], [x, x], [x]]),
    "wrong size": lambda x: pairs.call(x, x[:1]),
    "wrong type": lambda x: pairs.call(x.astype(np.float64), x),
    "wrong size in a list": lambda x: pairs.call([[x, x], [x, x[:1]]]),
    "no tensor": lambda x: pairs.call(x, None),
    "unknown subgraph": lambda x: graphs.call(x, subgraph=2),
    "subgraph below 0": lambda x: graphs.call(x, subgraph=-1),
    "subgraph is no int": lambda x: graphs.call(x, subgraph="1"),
    "not declared": stranger.call,
}


def call_badly(word, x):
    try:
        BAD_CALLS[word](x)
    except RuntimeError as error:
        return f"{type(error).__name__}: {error}", pairs.call(x, x)
    return "no error", x


@register.register_method(output_names=["error", "after"])
def bad_call(word, x):
    return register.add_stage(call_badly, word, x, outputs_count=2)


def call_uncaught(word, x):
    BAD_CALLS[word](x)
    return x


@register.register_method("y")
def uncaught(word, x):
    return register.add_stage(call_uncaught, word, x, outputs_count=1)


def call_from_thread(x):
    texts = []

    def call():
        try:
            pairs.call(x, x)
        except RuntimeError as error:
            texts.append(str(error))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return texts[0]


@register.register_method("error")
def thread_call(x):
    return register.add_stage(call_from_thread, x, outputs_count=1)


def where_am_i(x):
    return os.getpid(), os.environ.get("SERVING_DEVICE_ID", "none"), pairs.call(x, x)


@register.register_method(output_names=["pid", "device", "y"])
def whereabouts(x):
    return register.add_stage(where_am_i, x, outputs_count=3)
