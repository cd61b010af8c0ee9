"""Calls both methods of the servable `add` over gRPC."""

import argparse

import numpy as np
from servoir.client import Client


def run_add_common(address: str) -> None:
    """Three instances in one request: they are independent, and may share a batch with those of other clients."""
    client = Client(address, "add", "add_common")
    instances = [
        {"x1": np.asarray(x1, np.float32), "x2": np.asarray(x2, np.float32)}
        for x1, x2 in (
            ([[1, 1], [1, 1]], [[1, 1], [1, 1]]),
            ([[2, 2], [2, 2]], [[2, 2], [2, 2]]),
            ([[3, 3], [3, 3]], [[3, 3], [3, 3]]),
        )
    ]
    result = client.infer(instances)
    print(result)
    for instance, answer in zip(instances, result, strict=True):
        if not np.array_equal(answer["y"], instance["x1"] + instance["x2"]):
            raise SystemExit(f"add_common: {instance} gave {answer}")


def run_add_cast(address: str) -> None:
    """Integers: the model takes float32 only, the method's first stage casts."""
    client = Client(address, "add", "add_cast")
    x1 = np.ones((2, 2), np.int32)
    x2 = np.ones((2, 2), np.int32)
    result = client.infer({"x1": x1, "x2": x2})
    print(result)
    if not np.array_equal(result[0]["y"], (x1 + x2).astype(np.float32)):
        raise SystemExit(f"add_cast: {result}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", nargs="?", default="127.0.0.1:5500")
    target = parser.parse_args().address
    run_add_common(target)
    run_add_cast(target)
