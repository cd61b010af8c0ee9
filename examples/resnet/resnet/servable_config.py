"""Classifies pictures: the bytes of a file in, the best label or the five best out.

image ─▶ decode ─▶ ResNet ─▶ top_1 or top_5 ─▶ label, score
"""

from pathlib import Path

import numpy as np
from servoir.server import register

from .preprocess import decode

model = register.declare_model(model_file="resnet.onnx", model_format="ONNX", with_batch_dim=True)
LABELS = (Path(__file__).parent / "labels.txt").read_text(encoding="utf-8").splitlines()


def top_1(instances):
    """Up to 32 instances at once; one label for each."""
    scores = np.stack([score for (score,) in instances])
    for best in scores.argmax(axis=1):
        yield LABELS[best]


def top_5(instances):
    """Up to 32 instances at once; for each the labels, separated by semicolons, and their scores, best first."""
    for (score,) in instances:
        best = np.argsort(-score, kind="stable")[:5]
        yield ";".join(LABELS[i] for i in best), score[best]


@register.register_method(output_names=["label"])
def classify_top1(image):
    """image: bytes of a PNG, JPEG, …; label: str."""
    pixels = register.add_stage(decode, image, outputs_count=1, tag="Preprocess")
    score = register.add_stage(model, pixels, outputs_count=1)
    return register.add_stage(top_1, score, outputs_count=1, batch_size=32, tag="Postprocess")


@register.register_method(output_names=["label", "score"])
def classify_top5(image):
    """image: bytes of a PNG, JPEG, …; label: str, five labels with semicolons between them; score: float32 [5]."""
    pixels = register.add_stage(decode, image, outputs_count=1, tag="Preprocess")
    score = register.add_stage(model, pixels, outputs_count=1)
    label, best = register.add_stage(top_5, score, outputs_count=2, batch_size=32, tag="Postprocess")
    return label, best
