"""ONNX files whose tensors lie in other files, which may be links: Hugging Face's cache and ConfigMaps have such."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from servoir import backends
from servoir.backends.external_data import content_without_links
from servoir.errors import BackendError
from support.kinds import ONNX_BACKENDS
from support.models import onnx_models
from support.models.linked_models import BRANCH, WEIGHTS, config_map, hugging_face, model, only_the_data, plain


@pytest.fixture(params=[name for name in ONNX_BACKENDS if name != "opencv_dnn"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def open_model(path: Path, backend: str) -> Any:
    return backends.open_model([str(path)], None, backend, 1, backends.CPU, {}).subgraphs[0]


@pytest.mark.parametrize("layout", [plain, hugging_face, config_map, only_the_data])
def test_links_are_followed(tmp_path: Path, backend: str, layout: Callable[[Path], Path]) -> None:
    subgraph = open_model(layout(tmp_path), backend)
    x = np.ones((2, 3), np.float32)
    (y,) = subgraph.execute_copied([x])
    np.testing.assert_allclose(y, x @ WEIGHTS + BRANCH)


def dangle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("gone"))


@pytest.mark.parametrize(
    ("damage", "texts"),
    [
        (Path.unlink, ["there is no file", "model.onnx_data'", "has the tensor 'w'"]),
        (dangle, ["is a link to", "gone', which is not there", "has the tensor 'w'"]),
        (lambda data: data.write_bytes(b"1234"), ["model.onnx_data' is too short", "but it has 4", "the tensor 'w'"]),
    ],
    ids=["missing", "dangling", "short"],
)
def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, backend: str, damage: Callable[[Path], None], texts: list[str]
) -> None:
    path = hugging_face(tmp_path)
    data = path.with_name("model.onnx_data")
    content = data.read_bytes()
    data.unlink()
    data.write_bytes(content)
    damage(data)
    with pytest.raises(BackendError) as refused:
        open_model(path, backend)
    for text in texts:
        assert text in str(refused.value)


def test_a_place_outside_of_the_models_directory_is_left_to_the_runtime(tmp_path: Path, backend: str) -> None:
    """A stranger's model must not name just any file of the machine."""
    path = model(tmp_path / "stranger")
    (path.parent / "model.onnx_data").rename(tmp_path / "secret")
    loaded = onnx.load(path, load_external_data=False)
    for entry in loaded.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../secret"
    path.write_bytes(loaded.SerializeToString())
    with pytest.raises(BackendError, match=r"cannot open"):
        open_model(path, backend)


def test_what_needs_no_change_is_not_read_twice(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "noise").write_bytes(b"\x0a\x08location\x12" + bytes(range(256)))
    onnx_models.add(tmp_path / "add.onnx")
    for path in (plain(tmp_path), config_map(tmp_path), tmp_path / "empty", tmp_path / "noise", tmp_path / "add.onnx"):
        assert content_without_links(str(path), "/") is None


def test_the_content_is_the_same_but_for_the_places(tmp_path: Path) -> None:
    """Those of tensors in graphs within the graph as well."""
    path = hugging_face(tmp_path, smallest=0)
    changed = content_without_links(str(path), "/")
    assert changed is not None
    after = onnx.load_model_from_string(changed)
    places = {entry.value for entry in after.graph.initializer[0].external_data if entry.key == "location"}
    assert places == {str((path.parent / "model.onnx_data").resolve())}
    branches = [attribute.g for attribute in after.graph.node[1].attribute]
    for tensor in [*after.graph.initializer, *branches[0].initializer, *branches[1].initializer]:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "model.onnx_data"
    assert after == onnx.load(path, load_external_data=False)
