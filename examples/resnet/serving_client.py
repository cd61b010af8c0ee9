"""Classifies drawn pictures with the servable `resnet` over gRPC, or a file of your own."""

import argparse
from pathlib import Path

from draw_picture import LABELS, png
from servoir.client import Client


def run_file(address: str, file: Path) -> None:
    answer = Client(address, "resnet", "classify_top5").infer({"image": file.read_bytes()})
    if isinstance(answer, dict):  # an error of the whole request
        raise SystemExit(answer["error"])
    for label, score in zip(answer[0]["label"].split(";"), answer[0]["score"], strict=True):
        print(f"{label}: {score:.2f}")


def run(address: str) -> None:
    instances = [{"image": png(label, 1000)} for label in LABELS]
    best = Client(address, "resnet", "classify_top1").infer(instances)
    five = Client(address, "resnet", "classify_top5").infer(instances)
    right = 0
    for label, one, answer in zip(LABELS, best, five, strict=True):
        print(f"{label}: {one['label']}, then {answer['label'].split(';')[1:]}, score {answer['score'][0]:.2f}")
        right += one["label"] == label
        if answer["label"].split(";")[0] != one["label"] or label not in answer["label"].split(";"):
            raise SystemExit(f"{label}: classify_top1 gave {one}, classify_top5 gave {answer}")
    print(f"{right} of {len(LABELS)} are right")
    if right < 0.8 * len(LABELS):
        raise SystemExit("the network should do better")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", nargs="?", default="127.0.0.1:5500")
    parser.add_argument("--file", type=Path, help="a picture; without it one of each kind is drawn")
    args = parser.parse_args()
    if args.file:
        run_file(args.address, args.file)
    else:
        run(args.address)
