"""What a backend does when called in-process: instances a second of heavy.onnx at the best of several batch sizes.
Prints a JSON line."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np


def opened(backend: str, path: str) -> Callable[[np.ndarray], object]:
    if backend == "openvino":
        import openvino

        # As the server has it: its own default may be bfloat16, which is faster and answers otherwise.
        precision = {"INFERENCE_PRECISION_HINT": "f32"}
        request = openvino.Core().compile_model(path, "CPU", precision).create_infer_request()
        return lambda x: request.infer({"x": x}, share_inputs=True, share_outputs=True)
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backend", choices=["openvino", "onnxruntime"])
    parser.add_argument("model")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=1, help="for each batch size")
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 32, 64])
    args = parser.parse_args()
    run = opened(args.backend, args.model)
    best: dict[str, float] = {"per_second": 0}
    for batch in args.batches:
        x = np.random.default_rng(0).random((batch, args.width), np.float32)
        run(x)
        calls, begun = 0, time.perf_counter()
        while time.perf_counter() < begun + args.seconds:
            run(x)
            calls += 1
        took = time.perf_counter() - begun
        if calls * batch / took > best["per_second"]:
            best = {"per_second": calls * batch / took, "batch": batch, "batch_ms": took / calls * 1e3}
    print(json.dumps(best))


if __name__ == "__main__":
    main()
