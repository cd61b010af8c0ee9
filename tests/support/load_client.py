"""Many clients in one process, each with a connection of its own, every answer checked. Prints a JSON line."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from support.foreign_client import ForeignClient
from support.stubs import load
from support.threads import in_threads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--stubs", type=Path, required=True, help="folder of the generated stubs")
    parser.add_argument("--data", required=True, help="npz with x and y, rows of the mlp")
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    args = parser.parse_args()

    stubs = load(args.stubs)
    data = np.load(args.data)
    x, y = data["x"], data["y"]
    end = time.monotonic() + args.seconds
    counts = [0] * args.clients
    wrong: list[str] = []

    def ask(number: int) -> None:
        rng = np.random.default_rng([args.seed, number])
        try:
            with ForeignClient(stubs, args.address) as client:
                requests = [client.request("mlp", "predict", [{"x": row}]) for row in x]
                while time.monotonic() < end:
                    for index in rng.integers(0, len(x), 50):
                        reply = client.stub.Predict(requests[index], timeout=20)
                        (answer,) = client.outputs(reply, 1)
                        if not np.allclose(answer["y"], y[index], rtol=1e-4, atol=1e-4):
                            wrong.append(f"client {number}: {answer} for row {index}, should be {y[index]}")
                        counts[number] += 1
        except Exception as error:
            wrong.append(f"client {number}: {error!r}")

    in_threads(ask, ((number,) for number in range(args.clients)))
    print(json.dumps({"requests": sum(counts), "least": min(counts), "wrong": wrong[:5], "wrong_count": len(wrong)}))


if __name__ == "__main__":
    main()
