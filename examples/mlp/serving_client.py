"""Calls both methods of the servable `mlp` over gRPC, one request after the other and many at once."""

import argparse
import time

import numpy as np
from servoir.client import Client


def run(address: str) -> None:
    digits = np.random.default_rng(1).random((64, 784), np.float32)

    scores = Client(address, "mlp", "predict")
    print(scores.infer({"x": digits[0]})[0]["y"])

    classes = Client(address, "mlp", "classify")
    start = time.perf_counter()
    calls = [classes.infer_async({"x": digit}) for digit in digits]
    answers = [call.result()[0] for call in calls]
    took = time.perf_counter() - start
    print([int(answer["digit"]) for answer in answers])
    print(f"{len(calls)} requests in {took * 1e3:.1f} ms")
    for answer in answers:
        if answer["digit"] != answer["y"].argmax():
            raise SystemExit(f"classify: {answer}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", nargs="?", default="127.0.0.1:5500")
    run(parser.parse_args().address)
