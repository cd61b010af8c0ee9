"""Python stages only: every kind of function and value, and stages that misbehave."""

import os
import time

import numpy as np
from servoir.server import register


@register.register_method(output_names=["a", "b"])
def echo(a, b):
    """No stage at all."""
    return a, b


def describe(x):
    if isinstance(x, str):
        return "str", x
    return f"{x.dtype}{list(x.shape)}", x


@register.register_method(output_names=["kind", "value"])
def kind_of(x):
    return register.add_stage(describe, x, outputs_count=2)


def make_scalars(x):
    number = float(x.reshape(-1)[0])
    return int(number), number, number > 0, f"<{number:g}>", b"\x00\xff" + bytes(str(number), "ascii")


@register.register_method(output_names=["int", "float", "bool", "str", "bytes"])
def scalars(x):
    return register.add_stage(make_scalars, x, outputs_count=5)


def cut(x):
    return x[1:3, 2:3]


@register.register_method(output_names=["y"])
def slice_of(x):
    return register.add_stage(cut, x, outputs_count=1)


def add_and_count(instances):
    for x1, x2 in instances:
        yield x1 + x2, np.int64(len(instances))


@register.register_method(output_names=["sum", "batch"])
def batch_add(x1, x2):
    return register.add_stage(add_and_count, x1, x2, outputs_count=2, batch_size=4)


def add_one(x):
    return x + np.float32(1)


def double(instances):
    return [[x * np.float32(2)] for (x,) in instances]


def subtract(a, b):
    return a - b


@register.register_method(output_names=["y", "middle"])
def chain(x):
    """(x + 1) * 2 - x, and the value in the middle; x goes to two stages."""
    a = register.add_stage(add_one, x, outputs_count=1)
    b = register.add_stage(double, a, outputs_count=1, batch_size=8)
    c = register.add_stage(subtract, b, x, outputs_count=1)
    return c, a


def scribble(x):
    x[...] = 7
    return x


@register.register_method(output_names=["x", "y"])
def change_in_place(x):
    y = register.add_stage(scribble, x, outputs_count=1)
    z = register.add_stage(subtract, x, y, outputs_count=1)
    return z, y


def refuse_negative(x):
    if (x < 0).any():
        raise ValueError(f"no negative numbers, please: {x.min()}")
    return x + np.float32(1)


@register.register_method(output_names=["y"])
def picky(x):
    return register.add_stage(refuse_negative, x, outputs_count=1, tag="Preprocess")


def refuse_undecodable(x):
    raise FileNotFoundError(f"no file {os.fsdecode(bytes([0xFF, 0x41]))}")


@register.register_method(output_names=["y"])
def undecodable(x):
    return register.add_stage(refuse_undecodable, x, outputs_count=1)


def shut_everything(x):
    os.closerange(3, 1000)
    return x


@register.register_method(output_names=["y"])
def close_descriptors(x):
    return register.add_stage(shut_everything, x, outputs_count=1)


def refuse_at_length(x):
    raise ValueError("long " * 4_000_000)


@register.register_method(output_names=["y"])
def lengthy(x):
    return register.add_stage(refuse_at_length, x, outputs_count=1)


def refuse_negative_in_batch(instances):
    for (x,) in instances:
        if (x < 0).any():
            raise ValueError(f"no negative numbers in a batch, please: {x.min()}")
        yield x + np.float32(1)


@register.register_method(output_names=["y"])
def picky_batch(x):
    return register.add_stage(refuse_negative_in_batch, x, outputs_count=1, batch_size=8)


def leave_out_last(instances):
    return [x for (x,) in instances][: len(instances) - 1] if len(instances) > 1 else [x for (x,) in instances]


@register.register_method(output_names=["y"])
def too_few(x):
    return register.add_stage(leave_out_last, x, outputs_count=1, batch_size=64)


def one_value_for_two(x):
    return (x,) if x.reshape(-1)[0] < 0 else (x, x)


@register.register_method(output_names=["y", "z"])
def wrong_count(x):
    return register.add_stage(one_value_for_two, x, outputs_count=2)


def give_nothing(x):
    return None if x.reshape(-1)[0] < 0 else x


@register.register_method(output_names=["y"])
def wrong_kind(x):
    return register.add_stage(give_nothing, x, outputs_count=1)


def work_for(seconds):
    time.sleep(float(seconds))
    return os.getpid()


@register.register_method(output_names=["pid"])
def work(seconds):
    """Keeps a worker busy; says which."""
    return register.add_stage(work_for, seconds, outputs_count=1)


def hold_until_released(directory):
    """Leaves a file with this process's number in the directory, then waits for the file `release` there."""
    with open(os.path.join(directory, f"held-{os.getpid()}-{time.monotonic_ns()}"), "w"):
        pass
    while not os.path.exists(os.path.join(directory, "release")):
        time.sleep(0.005)
    return os.getpid()


@register.register_method(output_names=["pid"])
def hold(directory):
    """Keeps a worker busy until the test says so."""
    return register.add_stage(hold_until_released, directory, outputs_count=1)


def spin_forever(x):
    while x is not None:
        pass
    return x


@register.register_method(output_names=["x"])
def spin(x):
    """Never gives the interpreter's lock back of its own will."""
    return register.add_stage(spin_forever, x, outputs_count=1)


def count_batch(instances):
    return [np.int64(len(instances))] * len(instances)


@register.register_method(output_names=["batch"])
def delayed(x):
    """Waits up to 0.5 s for four instances."""
    return register.add_stage(count_batch, x, outputs_count=1, batch_size=4, max_queue_delay=0.5)


def add_one_to_each(instances):
    return [x + np.float32(1) for (x,) in instances]


@register.register_method(output_names=["y"])
def batching_on(x):
    return register.add_stage(add_one_to_each, x, outputs_count=1, batch_size=64)


def add_one_in_batch_of_one(instances):
    return [x + np.float32(1) for (x,) in instances]


@register.register_method(output_names=["y"])
def batching_off(x):
    return register.add_stage(add_one_in_batch_of_one, x, outputs_count=1, batch_size=1)


def work_in_batch(instances):
    time.sleep(max(float(seconds) for (seconds,) in instances))
    return [np.int64(len(instances))] * len(instances)


@register.register_method(output_names=["batch"])
def work_batched(seconds):
    """Keeps a worker busy; says how many instances were in the batch."""
    return register.add_stage(work_in_batch, seconds, outputs_count=1, batch_size=16)


def end_worker(x):
    if x.reshape(-1)[0] < 0:
        os.kill(os.getpid(), 9)
    return os.getpid()


@register.register_method(output_names=["pid"])
def deadly(x):
    """A negative x ends the worker."""
    return register.add_stage(end_worker, x, outputs_count=1)


def total_of(x):
    return np.float64(x.sum(dtype=np.float64))


@register.register_method(output_names=["total"])
def total(x):
    return register.add_stage(total_of, x, outputs_count=1)


def sizes_of(instances):
    return [np.int64(x.size) for (x,) in instances]


@register.register_method(output_names=["size"])
def size(x):
    return register.add_stage(sizes_of, x, outputs_count=1, batch_size=64)


def zeros_of(count):
    return np.zeros(int(count.reshape(-1)[0]), np.float32)


@register.register_method(output_names=["y"])
def zeros(count):
    """A small request with a large answer."""
    return register.add_stage(zeros_of, count, outputs_count=1)


def rows_without_columns(count):
    return np.empty((int(count.reshape(-1)[0]), 0), np.float32)


@register.register_method(output_names=["y"])
def empty_rows(count):
    """An answer without any bytes, of as many rows as the request says."""
    return register.add_stage(rows_without_columns, count, outputs_count=1)
