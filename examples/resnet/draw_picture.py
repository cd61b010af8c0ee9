"""Draws pictures of ten kinds: discs and stripes in five colours, each of another size, place and shade."""

import io

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {
    "red": (200, 40, 40),
    "green": (40, 180, 60),
    "blue": (50, 70, 210),
    "yellow": (220, 200, 40),
    "violet": (150, 50, 190),
}
LABELS = tuple(f"{colour} {shape}" for colour in COLOURS for shape in ("disc", "stripes"))


def draw(label: str, seed: int, size: int = 96) -> Image.Image:
    rng = np.random.default_rng([seed, LABELS.index(label)])
    colour, shape = label.split(" ")
    shade = tuple(int(value) for value in np.clip(np.array(COLOURS[colour]) + rng.integers(-20, 21, 3), 0, 255))
    ground = int(rng.integers(0, 60))
    image = Image.new("RGB", (size, size), (ground, ground, ground))
    pen = ImageDraw.Draw(image)
    if shape == "disc":
        radius = size * rng.uniform(0.25, 0.4)
        x, y = rng.uniform(radius, size - radius, 2)
        pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=shade)
    else:
        width = size * rng.uniform(0.06, 0.1)
        left = rng.uniform(0, width)
        while left < size:
            pen.rectangle([left, 0, left + width, size], fill=shade)
            left += 2 * width
    return image


def png(label: str, seed: int) -> bytes:
    """As a file."""
    file = io.BytesIO()
    draw(label, seed).save(file, "PNG")
    return file.getvalue()
