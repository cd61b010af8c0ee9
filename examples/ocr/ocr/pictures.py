"""From a picture file to the models' inputs, and from the recogniser's output to text. Pillow and numpy only."""

import io
import os

import numpy as np
from PIL import Image

LONGEST_SIDE = 2000  # larger pictures are made smaller
DETECTION_SIDE = 736  # the shorter side is made at least this long for the detector
DETECTION_STEP = 32  # its sides must be multiples of this
LINE_HEIGHT = 48  # the recogniser's input
LINE_WIDTH = 320  # widths are padded to multiples of this, so that most lines can share a batch

with open(os.path.join(os.path.dirname(__file__), "characters.txt"), encoding="utf-8", newline="\n") as file:
    CHARACTERS = ["", *file.read().removesuffix("\n").split("\n"), " "]  # number 0 is the blank between characters


def normalise(image):
    """float32 [3, height, width] in -1 … 1, blue first, as the models were trained."""
    pixels = np.asarray(image, np.float32)[:, :, ::-1].transpose(2, 0, 1)
    return np.ascontiguousarray(pixels / np.float32(127.5) - np.float32(1))


def decode(data):
    """The file's bytes; the picture uint8 [height, width, 3], and what the detector gets of it."""
    image = Image.open(io.BytesIO(data.tobytes())).convert("RGB")
    shrink = min(1.0, LONGEST_SIDE / max(image.size))
    if shrink < 1:
        image = image.resize([max(1, round(side * shrink)) for side in image.size], Image.Resampling.BILINEAR)
    grow = max(1.0, DETECTION_SIDE / min(image.size))
    if max(image.size) * grow > 2 * LONGEST_SIDE:  # a narrow strip must not become a huge one
        grow = max(1.0, 2 * LONGEST_SIDE / max(image.size))
    size = [max(1, round(side * grow / DETECTION_STEP)) * DETECTION_STEP for side in image.size]
    return np.asarray(image), normalise(image.resize(size, Image.Resampling.BILINEAR))


def crop_line(picture, box):
    """The recogniser's input for one box: height 48, padded with grey on the right."""
    left, top, right, bottom = box
    image = Image.fromarray(picture[top:bottom, left:right])
    width = max(1, -(-LINE_HEIGHT * image.width // image.height))
    padded = np.zeros((3, LINE_HEIGHT, -(-width // LINE_WIDTH) * LINE_WIDTH), np.float32)
    padded[:, :, :width] = normalise(image.resize((width, LINE_HEIGHT), Image.Resampling.BILINEAR))
    return padded


def text_of(probabilities):
    """The recogniser's answer [steps, characters]: the likeliest of each step, without repeats and blanks."""
    best = probabilities.argmax(axis=1)
    new = np.concatenate([[True], best[1:] != best[:-1]])
    return "".join(CHARACTERS[i] for i in best[new & (best != 0)])
