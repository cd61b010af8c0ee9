"""Collects the models of this example from the PyPI package `rapidocr` (3.10): PP-OCRv6 small, detection and
recognition, and the recogniser's characters, which the package keeps in the model's metadata.
Needs the packages `rapidocr` and `onnx`; `rapidocr` itself is not imported and not needed afterwards."""

import argparse
import importlib.util
import shutil
from pathlib import Path

import onnx

MODELS = {"PP-OCRv6_det_small.onnx": "detection.onnx", "PP-OCRv6_rec_small.onnx": "recognition.onnx"}


def find_models() -> Path:
    """The folder `models` of the installed package."""
    spec = importlib.util.find_spec("rapidocr")
    if spec is None or spec.origin is None:
        raise SystemExit("the package rapidocr is not installed: pip install 'rapidocr==3.10.*'")
    models = Path(spec.origin).parent / "models"
    for name in MODELS:
        if not (models / name).is_file():
            there = ", ".join(sorted(p.name for p in models.glob("*.onnx"))) or "no .onnx file"
            raise SystemExit(f"{models} has {there}, but not {name}: pip install 'rapidocr==3.10.*'")
    return models


def make(directory: Path) -> Path:
    """Writes DIRECTORY/ocr/1/{detection,recognition}.onnx and DIRECTORY/ocr/characters.txt."""
    models = find_models()
    version = directory / "ocr" / "1"
    version.mkdir(parents=True, exist_ok=True)
    for name, target in MODELS.items():
        shutil.copyfile(models / name, version / target)
    metadata = {p.key: p.value for p in onnx.load(str(version / "recognition.onnx")).metadata_props}
    characters = metadata["character"].splitlines()
    (directory / "ocr" / "characters.txt").write_text("\n".join(characters) + "\n", encoding="utf-8", newline="\n")
    return version


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", nargs="?", type=Path, default=Path(__file__).resolve().parent)
    print(make(parser.parse_args().directory))
