"""Calls the methods of the servable `add_sub` over gRPC and checks the answers."""

import argparse

import numpy as np
from servoir.client import Client


def check(method: str, answer: np.ndarray, expected: np.ndarray) -> None:
    print(f"{method}: {answer.tolist()} {answer.dtype}")
    if not np.array_equal(answer, expected):
        raise SystemExit(f"{method} gave {answer}, not {expected}")


def run(address: str) -> None:
    rng = np.random.default_rng(5)
    instances = [{x: rng.integers(-9, 9, (2, 2)).astype(np.float32) for x in ("x1", "x2", "x3")} for _ in range(3)]
    for method in ("add_sub", "add_sub_call"):
        answers = Client(address, "add_sub", method).infer(instances)
        for given, answer in zip(instances, answers, strict=True):
            check(method, answer["y"], given["x1"] + given["x2"] - given["x3"])

    integers = {x: np.full((2, 2), n, np.int64) for n, x in enumerate(("x1", "x2", "x3"), start=10)}
    (answer,) = Client(address, "add_sub", "add_sub_cast").infer(integers)
    check("add_sub_cast", answer["y"], np.full((2, 2), 9, np.int32))

    matrices = np.arange(4 * 11, dtype=np.float32).reshape(11, 2, 2)
    (answer,) = Client(address, "add_sub", "add_all").infer({"xs": matrices})
    check("add_all", answer["y"], matrices.sum(axis=0))
    print(f"11 matrices took {answer['calls']} calls of the model")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", nargs="?", default="127.0.0.1:5500")
    run(parser.parse_args().address)
