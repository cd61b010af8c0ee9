"""Values that functions return, stages that fail, output and environment of a worker."""

import os
import sys

import numpy as np
from servoir import log
from servoir.server import register


class Foreign:
    """As tensors of other frameworks are."""

    def asnumpy(self):
        return np.array([[1.5], [2.5]], np.float16)


RETURNED = {
    "int": 7,
    "negative int": -(2**63),
    "float": 0.5,
    "bool": True,
    "str": "Grüße",
    "empty str": "",
    "bytes": b"\x00\xff",
    "empty bytes": b"",
    "numpy float16": np.float16(1.5),
    "numpy bool": np.bool_(True),
    "numpy int8": np.int8(-3),
    "array": np.arange(6, dtype=np.uint16).reshape(2, 3),
    "0-d array": np.array(2.5, np.float32),
    "strided array": np.arange(12, dtype=np.int32).reshape(3, 4)[1:3, 2:3],
    "big-endian array": np.array([1, 258], ">i2"),
    "asnumpy": Foreign(),
    "[0]": np.zeros(0, np.int16),
    "[2, 0]": np.zeros((2, 0), np.float64),
    "[1, 2, 0, 1]": np.zeros((1, 2, 0, 1), np.float32),
    "in a list": [np.float32(3)],
    "0-d unicode array": np.array("Grüße"),
    "unicode array": np.array(["a", "Grüße", ""]),
    "unicode matrix": np.array([["a", "b"], ["c", "d"], ["e", "f"]])[::2].T,
    "array of bytes": np.array([b"a", b"\xff"]),
    "array of str objects": np.array(["a", "bc"], object),
    "array of bytes objects": np.array([[b"\x00\xff", b""]], object),
    "no texts": np.zeros((2, 0), "U3"),
    # and what cannot be returned
    "None": None,
    "dtype": np.dtype("float32"),
    "complex": 1j,
    "complex array": np.array([1j]),
    "object array": np.array([None]),
    "mixed object array": np.array(["a", b"a"], object),
    "datetime array": np.array(["2020"], "datetime64[D]"),
    "dict": {"y": 1},
    "large int": 2**63,
    "surrogate": "\ud800",
    "two values": (1, 2),
    "no value": (),
}


def give_value(kind):
    return RETURNED[kind]


@register.register_method(output_names=["y"])
def give(kind):
    """What RETURNED has for the word."""
    return register.add_stage(give_value, kind, outputs_count=1)


def keep(x):
    return x


@register.register_method(output_names=["y"])
def returned_as_it_came(x):
    return register.add_stage(keep, x, outputs_count=1)


@register.register_method(output_names=["y"])
def untouched(x):
    """No stage at all."""
    return x


def describe_texts(x):
    """Type, shape and elements of what a function gets."""
    if isinstance(x, str):
        return f"str {x!r}"
    return f"{x.dtype}{list(x.shape)} {type(x.flat[0]).__name__} {x.tolist()}"


@register.register_method(output_names=["kind", "same"])
def texts(x):
    kind = register.add_stage(describe_texts, x, outputs_count=1)
    same = register.add_stage(keep, x, outputs_count=1)
    return kind, same


def join_texts(instances):
    return [("+".join(x), np.int64(len(instances))) for (x,) in instances]


@register.register_method(output_names=["joined", "batch"])
def joined(x):
    """Waits for two instances; each is an array of str."""
    return register.add_stage(join_texts, x, outputs_count=2, batch_size=2, max_queue_delay=5)


def refuse_negative(x):
    if x < 0:
        raise ValueError(f"{int(x)} is negative")
    return x


def refuse_odd(x):
    if x % 2:
        raise KeyError("odd")
    return x


@register.register_method(output_names=["y"])
def two_stages(x):
    """The first refuses negative numbers and has no tag, the second odd ones and has one."""
    y = register.add_stage(refuse_negative, x, outputs_count=1)
    return register.add_stage(refuse_odd, y, outputs_count=1, tag="Postprocess")


def none_for_negative(instances):
    return [None if x < 0 else x for (x,) in instances]


@register.register_method(output_names=["y"])
def batch_with_none(x):
    return register.add_stage(none_for_negative, x, outputs_count=1, batch_size=8)


def print_and_log(text):
    print(f"printed {text}")
    print(f"shouted {text}", file=sys.stderr)
    log.warning("logged %s", text)
    log.info("whispered %s", text)
    return os.getpid()


@register.register_method(output_names=["pid"])
def say(text):
    return register.add_stage(print_and_log, text, outputs_count=1)


AT_IMPORT = {name: os.environ.get(name, "not set") for name in ("SERVING_DEVICE_ID", "LD_LIBRARY_PATH")}


def look_up(name):
    return AT_IMPORT[name], os.environ.get(name, "not set")


@register.register_method(output_names=["at_import", "now"])
def environment(name):
    return register.add_stage(look_up, name, outputs_count=2)
