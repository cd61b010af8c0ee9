"""Draws the test image: a few lines of known words, as a PNG. Needs the package `pillow`."""

import argparse
import io
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

LINES = ("SERVOIR SERVES MODELS", "Invoice 2026-1122", "Total 384.50 EUR")


def draw(lines: tuple[str, ...] = LINES, size: int = 40) -> bytes:
    font = ImageFont.load_default(size=size)
    width = int(max(font.getlength(line) for line in lines)) + 2 * size
    image = Image.new("RGB", (width, 2 * size * len(lines) + size), "white")
    pen = ImageDraw.Draw(image)
    for row, line in enumerate(lines):
        pen.text((size, size // 2 + 2 * size * row), line, fill="black", font=font)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=Path("ocr.png"))
    path = parser.parse_args().file
    path.write_bytes(draw())
    print(path)
