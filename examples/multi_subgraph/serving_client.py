"""Asks the servable `forecast` over gRPC how waves go on, and checks the answers."""

import argparse

import numpy as np
from servoir.client import Client

HISTORY = 32


def wave(seed: int, length: int) -> np.ndarray:
    """A sum of two waves with the periods that the model knows."""
    height, phase = np.random.default_rng(seed).uniform(0.5, 3, (2, 2))
    t = np.arange(length)
    return height[0] * np.sin(2 * np.pi * t / 12 + phase[0]) + height[1] * np.sin(2 * np.pi * t / 5 + phase[1])


def run(address: str) -> None:
    instances, futures = [], []
    for seed, steps in enumerate((6, 1, 12, 24)):
        whole = wave(seed, HISTORY + steps)
        instances.append({"history": whole[:HISTORY].astype(np.float32), "steps": steps})
        futures.append(whole[HISTORY:])
    for method in ("predict", "predict_together"):
        answers = Client(address, "forecast", method).infer(instances)
        for future, answer in zip(futures, answers, strict=True):
            print(f"{method}: {[f'{value:.2f}' for value in answer['values'][:6]]}")
            if answer["values"].shape != future.shape or not np.allclose(answer["values"], future, atol=1e-2):
                raise SystemExit(f"{method} gave {answer['values']}, not {future}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", nargs="?", default="127.0.0.1:5500")
    run(parser.parse_args().address)
