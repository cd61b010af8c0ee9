"""A server whose preferred backend is broken serves its models by the next one, and says why."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import servoir
from servoir.client import Client
from support.libraries import MESSAGES, fake_openvino
from support.models import exact_models
from support.servers import ServerProcess

PACKAGE = Path(servoir.__file__).parent


@pytest.fixture
def only_this_openvino(tmp_path: Path) -> dict[str, str]:
    """The environment of a server that finds OpenVINO in `tmp_path`/libs only."""
    if not (PACKAGE / "plugins" / "libservoir_openvino.so").is_file():
        pytest.skip("this build has no plug-in for OpenVINO")
    plugins, shadow = tmp_path / "plugins", tmp_path / "packages"
    plugins.mkdir()
    shutil.copy(PACKAGE / "plugins" / "libservoir_openvino.so", plugins)
    (shadow / "openvino").mkdir(parents=True)  # found before the package of this name
    (shadow / "openvino" / "__init__.py").touch()
    return {
        "SERVOIR_PLUGIN_DIR": str(plugins),
        "SERVOIR_OPENVINO_DIR": str(tmp_path / "libs"),
        "PYTHONPATH": f"{shadow}:{PACKAGE.parent}",
        "SERVOIR_TRIAL_SECONDS": "3",
    }


@pytest.mark.parametrize("fault", ["aborts", "crashes", "exits", "hangs"])
def test_a_broken_openvino_leaves_onnxruntime_working(
    fault: str, tmp_path: Path, only_this_openvino: dict[str, str], start: Any
) -> None:
    fake_openvino(tmp_path / "libs", fault)
    server: ServerProcess = start("exact", device_ids=0, env=only_this_openvino)
    x = np.arange(16, dtype=np.float32)
    answer = Client(server.grpc, "exact", "multiply").infer([{"x": x}])
    np.testing.assert_array_equal(answer[0]["y"], exact_models.expected(x)[0])
    assert "the model is run by onnxruntime instead" in server.log()
    assert MESSAGES[fault] in server.log()
    assert any("models run by onnxruntime" in line for line in server.lines), server.log()
    # Both models of the servable ask for OpenVINO; what hangs is waited for once.
    assert len(server.workers()) == 1
