"""The models of the demo's servables, called with no server in between: what the server's answers are compared with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from support.modules import load_module


class NoBackend(Exception):
    """There is no backend to compare with."""


def open_directly(path: Path) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """The model's first output as a function of its inputs, with no server in between."""
    try:
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return lambda inputs: session.run(None, inputs)[0]
    except ImportError:
        pass
    try:
        import openvino

        compiled = openvino.Core().compile_model(str(path), "CPU")
        return lambda inputs: compiled(inputs)[0]
    except ImportError:
        pass
    return open_embedded(path)


def open_embedded(path: Path) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """By the backend that is part of Servoir, where there is no other."""
    from servoir import backends

    try:
        model = backends.open_model([str(path)], None, "opencv_dnn", 1, backends.CPU, {}).subgraphs[0]
    except backends.BackendError as error:
        hint = "pip install onnxruntime, or openvino, or bash build.sh -e cpu"
        raise NoBackend(f"there is no backend to compare with: {hint}\n{error}") from None
    return lambda inputs: model.execute_copied([inputs[port["name"]] for port in model.inputs])[0]


def read_directly(servables: Path, picture_file: bytes) -> tuple[str, np.ndarray, np.ndarray]:
    """The steps of the servable `ocr`, one after the other in this process."""
    pictures = load_module(servables / "ocr/pictures.py")
    find_boxes = load_module(servables / "ocr/text_boxes.py").find_boxes
    detect = open_directly(servables / "ocr/1/detection.onnx")
    recognise = open_directly(servables / "ocr/1/recognition.onnx")
    picture, pixels = pictures.decode(np.frombuffer(picture_file, np.uint8))
    boxes, scores = find_boxes(detect({"x": pixels[None]})[0, 0], picture.shape[1], picture.shape[0])
    text = "\n".join(pictures.text_of(recognise({"x": pictures.crop_line(picture, box)[None]})[0]) for box in boxes)
    return text, boxes, scores
