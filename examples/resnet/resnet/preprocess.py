"""From a file's bytes to the input of the model: decoded, 32 by 32, normalised, channels first."""

import io

import numpy as np
from PIL import Image

SIZE = 32
MEAN = np.array([0.35, 0.3, 0.3], np.float32)
DEVIATION = np.array([0.3, 0.25, 0.25], np.float32)


def normalise(image: Image.Image) -> np.ndarray:
    """float32 [3, 32, 32]."""
    small = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    pixels = np.asarray(small, np.float32) / 255
    return np.ascontiguousarray(((pixels - MEAN) / DEVIATION).transpose(2, 0, 1))


def decode(image: np.ndarray) -> np.ndarray:
    """`image`: the bytes of a PNG, JPEG, …, which arrive in functions as an array of uint8."""
    return normalise(Image.open(io.BytesIO(image.tobytes())))
