"""An ONNX model whose tensors lie in another file, and ways in which links lead to the two files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from support.models import onnx_models

WEIGHTS = np.arange(192, dtype=np.float32).reshape(3, 64)
BRANCH = np.full((64,), 100, np.float32)


def model(directory: Path, *, smallest: int = 512) -> Path:
    """y = x W + 100; tensors of at least `smallest` bytes, which W is, are in another file. The 100 comes from a graph
    within the graph."""
    directory.mkdir(parents=True)
    helper = onnx_models.helper
    tensors = [onnx.numpy_helper.from_array(WEIGHTS, "w"), onnx.numpy_helper.from_array(BRANCH, "hundred")]
    branch = helper.make_graph(
        [helper.make_node("Identity", ["hundred"], ["out"])],
        "branch",
        [],
        [onnx_models.tensor("out", "float32", [64])],
        tensors[1:],
    )
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"]),
        helper.make_node("If", ["yes"], ["added"], then_branch=branch, else_branch=branch),
        helper.make_node("Add", ["product", "added"], ["y"]),
    ]
    path = directory / "model.onnx"
    onnx_models.save(
        path,
        nodes,
        [onnx_models.tensor("x", "float32", ["batch", 3])],
        [onnx_models.tensor("y", "float32", ["batch", 64])],
        [tensors[0], onnx.numpy_helper.from_array(np.array(True), "yes")],
    )
    onnx.save_model(
        onnx.load(path),
        path,
        save_as_external_data=True,
        location="model.onnx_data",
        size_threshold=smallest,
        convert_attribute=True,
    )
    assert (directory / "model.onnx_data").stat().st_size >= WEIGHTS.nbytes
    return path


def plain(directory: Path) -> Path:
    return model(directory / "plain")


def hugging_face(directory: Path, **details: int) -> Path:
    """snapshots/REVISION/NAME is a link to blobs/HASH."""
    made = model(directory / "made", **details)
    blobs, revision = directory / "models--a--b" / "blobs", directory / "models--a--b" / "snapshots" / "0123"
    blobs.mkdir(parents=True)
    revision.mkdir(parents=True)
    for number, name in enumerate(["model.onnx", "model.onnx_data"]):
        (made.parent / name).rename(blobs / f"{number}abc")
        (revision / name).symlink_to(f"../../blobs/{number}abc")
    return revision / "model.onnx"


def config_map(directory: Path) -> Path:
    """NAME is a link to ..data/NAME, and ..data one to the directory of this moment."""
    model(directory / "map" / "..2026")
    (directory / "map" / "..data").symlink_to("..2026")
    for name in ("model.onnx", "model.onnx_data"):
        (directory / "map" / name).symlink_to(f"..data/{name}")
    return directory / "map" / "model.onnx"


def only_the_data(directory: Path) -> Path:
    """On another volume, as people do with what is large."""
    path = model(directory / "small")
    (directory / "large").mkdir()
    (path.parent / "model.onnx_data").rename(directory / "large" / "weights")
    (path.parent / "model.onnx_data").symlink_to(directory / "large" / "weights")
    return path
