"""Puts the servables of all examples and their models into one folder."""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

# example: its servable
EXAMPLES = {
    "tensor_add": "add",
    "add_sub_pipeline": "add_sub",
    "mlp": "mlp",
    "multi_subgraph": "forecast",
    "resnet": "resnet",
    "ocr": "ocr",
}
HERE = Path(__file__).resolve().parent


def collect(directory: Path, examples: tuple[str, ...] = tuple(EXAMPLES)) -> None:
    """Writes DIRECTORY/SERVABLE/... for each example, replacing what is there of the same name."""
    for example in examples:
        servable = EXAMPLES[example]
        shutil.rmtree(directory / servable, ignore_errors=True)
        shutil.copytree(
            HERE / example / servable,
            directory / servable,
            ignore=shutil.ignore_patterns("__pycache__", "*.onnx", "characters.txt", "labels.txt"),
        )
        script = HERE / example / "make_model.py"
        made = subprocess.run([sys.executable, str(script), str(directory)], stdout=subprocess.DEVNULL, check=False)
        if made.returncode != 0:
            raise SystemExit(f"{script} has failed; it has said why")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("examples", nargs="*", choices=list(EXAMPLES), default=list(EXAMPLES))
    args = parser.parse_args()
    collect(args.directory, tuple(args.examples))
