"""Sends a picture to the servable `ocr` over gRPC and prints the text with its boxes."""

import argparse
from pathlib import Path

from make_image import LINES, draw
from servoir.client import Client


def run(address: str, file: Path | None) -> None:
    answer = Client(address, "ocr", "read").infer({"image": file.read_bytes() if file else draw()})
    if isinstance(answer, dict):  # an error of the whole request
        raise SystemExit(answer["error"])
    lines = answer[0]["text"].splitlines()
    for line, box, score in zip(lines, answer[0]["boxes"], answer[0]["scores"], strict=True):
        print(f"{line}    box {box.tolist()}, score {score:.2f}")
    if file is None and lines != list(LINES):
        raise SystemExit(f"{list(LINES)} was read as {lines}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", nargs="?", default="127.0.0.1:5500")
    parser.add_argument("--file", type=Path, help="a picture; without it one with known words is drawn")
    args = parser.parse_args()
    run(args.address, args.file)
