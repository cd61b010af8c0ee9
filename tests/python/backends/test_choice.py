"""Which backend runs a file, and what is said when none does."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import onnx
import pytest
from onnx import TensorProto, helper
from servoir import backends
from servoir.backends import native, openvino
from servoir.backends.file_format import file_format
from servoir.backends.model_file import ModelFile
from servoir.backends.options import read_options
from support.kinds import ONNX_BACKENDS
from support.models import onnx_models
from support.models.ir_models import ADD


@pytest.fixture
def onnx_file(tmp_path: Path) -> str:
    return onnx_models.add(tmp_path / "add.onnx")


def opened_by(path: str, model_format: str | None = None, backend: str | None = None) -> str:
    return backends.open_model([path], model_format, backend, 1, backends.CPU, {}).backend


def test_the_native_backend_is_preferred(onnx_file: str) -> None:
    assert opened_by(onnx_file) == "openvino"
    assert opened_by(onnx_file, "ONNX") == "openvino"
    assert opened_by(onnx_file, None, "onnxruntime") == "onnxruntime"


def test_ir_is_openvinos(tmp_path: Path) -> None:
    path = tmp_path / "add.xml"
    path.write_text(ADD)
    (tmp_path / "add.bin").write_bytes(b"")
    opened = backends.open_model([str(path)], None, None, 1, backends.CPU, {})
    assert opened.backend == "openvino"
    assert opened.subgraphs[0].inputs[0]["shape"] == [-1, 2]
    with pytest.raises(RuntimeError, match="no backend runs the format openvino: onnxruntime"):
        opened_by(str(path), None, "onnxruntime")


def test_another_one_takes_over_where_the_preferred_is_missing(onnx_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVOIR_PLUGIN_DIR", "/nowhere")
    openvino.load.cache_clear()
    assert opened_by(onnx_file) == "onnxruntime"
    with pytest.raises(RuntimeError, match=r"the plug-in '/nowhere/libservoir_openvino\.so' is not there"):
        opened_by(onnx_file, None, "openvino")
    openvino.load.cache_clear()


def test_what_is_said_when_a_package_is_missing(onnx_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RuntimeError, match=r"import of onnxruntime halted.*pip install 'servoir\[onnxruntime\]'"):
        opened_by(onnx_file, None, "onnxruntime")


def test_every_library_tried_is_named(tmp_path: Path) -> None:
    from servoir._core import NativeBackend

    broken = tmp_path / "libopenvino_c.so.1"
    broken.write_bytes(b"not a library at all, but long enough to have an ELF header in it if it were one....")
    with pytest.raises(RuntimeError) as raised:
        NativeBackend.load(
            native.plugin_path("openvino"),
            [("/nowhere", "the user said so"), str(tmp_path)],
            trial_program=native.trial_program(),
            trial_seconds=60,
        )
    text = str(raised.value)
    assert "/nowhere (the user said so): does not exist" in text
    assert f"{broken} (given): is not an ELF file" in text
    assert "libopenvino_c.so (the loader's own paths)" in text


def test_a_library_of_something_else_is_refused() -> None:
    maps = Path("/proc/self/maps").read_text().split()
    library = next(place for place in maps if place.startswith("/") and "/libc.so.6" in place)
    with pytest.raises(RuntimeError, match=r"the plug-in .* is not a plug-in of this Servoir: it has no function"):
        native.load_native(library, [])


def test_where_openvino_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVOIR_OPENVINO_DIR", "/chosen")
    places = openvino.search_places()
    assert places[0] == ("/chosen", "SERVOIR_OPENVINO_DIR")
    assert places[-1][1] == "the Python package openvino"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is empty"),
        (b"<html><body/></html>", "is XML, but not OpenVINO's"),
        (b"PK\x03\x04rest", "begins like a ZIP archive, as PyTorch writes, but is truncated or damaged"),
        (b"\x0a\x050.3.0", "is unknown"),
        (b"\x08", "is unknown"),
        (b"\x1c\0\0\0MSL2rest", r"of MindSpore Lite \(.ms\); .* export the network as MindIR or ONNX"),
        (b"IMODrest", r"Ascend offline model \(.om\); .* export the network as MindIR or ONNX"),
        (b"\x0a\x031.1\x12\x05other", "is unknown"),
    ],
)
def test_files_of_no_known_format(content: bytes, text: str, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(content)
    with pytest.raises(RuntimeError, match=text):
        file_format(ModelFile(str(path)))


def test_a_format_is_told_without_a_suffix(onnx_file: str, tmp_path: Path) -> None:
    plain = tmp_path / "model"
    plain.write_bytes(Path(onnx_file).read_bytes())
    assert file_format(ModelFile(str(plain))) == "onnx"


def test_mindir_is_told_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for version in (b"1.1", b"0.1.1"):
        path.write_bytes(b"\x0a" + bytes([len(version)]) + version + b"\x12\x09MindSpore*\x062.10.0")
        assert file_format(ModelFile(str(path))) == "mindir"


def test_what_is_said_when_mindspore_is_missing_or_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.mindir"
    path.write_bytes(b"\x0a\x031.1\x12\x09MindSpore*\x062.10.0")
    monkeypatch.setitem(sys.modules, "mindspore", None)
    with pytest.raises(RuntimeError, match=r"import of mindspore halted.*pip install 'servoir\[mindspore\]'"):
        opened_by(str(path))
    monkeypatch.setitem(sys.modules, "mindspore", cast("ModuleType", SimpleNamespace(__version__="1.10.1")))
    with pytest.raises(RuntimeError, match=r"the package mindspore is 1\.10\.1; 2\.7 to 2\.10 can be used"):
        opened_by(str(path), "MindIR", "mindspore")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("MindIR_Lite", "format MindIR_Lite of .*MindSpore Lite.*for exportedprogram, mindir, onnx, openvino,"),
        ("MindIR_Opt", "use the MindIR file that it was made of"),
        ("OM", "run on Ascend processors only; export the network as MindIR or ONNX"),
        ("TorchScript", "'model_format' of .* is TorchScript, but its content is of the format onnx"),
    ],
)
def test_formats_that_no_backend_runs(onnx_file: str, name: str, text: str) -> None:
    with pytest.raises(RuntimeError, match=text):
        opened_by(onnx_file, name)


def test_backends_that_are_not_there(onnx_file: str) -> None:
    with pytest.raises(RuntimeError, match="there is no backend 'tensorrt'; there are openvino, onnxruntime"):
        opened_by(onnx_file, None, "tensorrt")


def test_contradicting_batch_dimensions() -> None:
    def subgraph(*shapes: list[int] | None) -> Any:
        ports = [{"name": f"p{index}", "dtype": "float32", "shape": shape} for index, shape in enumerate(shapes)]
        return SimpleNamespace(inputs=ports[:-1], outputs=ports[-1:])

    assert backends.batch_size(subgraph([4, 2], [-1, 2], None)) == 4
    assert backends.batch_size(subgraph([-1, 2], [-1])) is None
    assert backends.batch_size(subgraph([4, 2], [2]), with_batch_dim=False) == 1
    assert backends.batch_size(subgraph([4, 2], [], [4]), unbatched_inputs=[1]) == 4
    with pytest.raises(RuntimeError, match="output 'p2' has 2 as its first dimension, but input 'p0' has 4"):
        backends.batch_size(subgraph([4, 2], [4, 2], [2, 2]))
    with pytest.raises(RuntimeError, match="input 'p0' is a single value"):
        backends.batch_size(subgraph([], [4]))
    with pytest.raises(RuntimeError, match="a batch dimension of 0 is of no use"):
        backends.batch_size(subgraph([0, 2], [0]))


def test_options_of_a_config_file(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"A": 1, "B": true, "C": "x"}')
    assert read_options({"config_file": str(path), "C": "mine"}) == {"A": "1", "B": "YES", "C": "mine"}
    assert read_options({"C": "mine"}) == {"C": "mine"}
    with pytest.raises(RuntimeError, match="cannot be read as JSON"):
        read_options({"config_file": str(tmp_path / "missing.json")})


def with_another_output(path: Path, kind: str) -> str:
    """y = -x, and q, made of x, which no client can be sent."""
    made = {
        "sequence": (helper.make_node("SequenceConstruct", ["x"], ["q"]), None),
        "int4": (helper.make_node("Cast", ["x"], ["q"], to=TensorProto.INT4), TensorProto.INT4),
        "float8": (helper.make_node("Cast", ["x"], ["q"], to=TensorProto.FLOAT8E4M3FN), TensorProto.FLOAT8E4M3FN),
    }
    node, number = made[kind]
    ports = [onnx_models.tensor(name, "float32", ["batch", 3]) for name in "xy"]
    if number is None:
        ports.append(helper.make_tensor_sequence_value_info("q", TensorProto.FLOAT, None))
    else:
        ports.append(helper.make_tensor_value_info("q", number, ["batch", 3]))
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"]), node], "test", ports[:1], ports[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return str(path)


@pytest.mark.parametrize("kind", ["classifier", "sequence", "int4", "float8"])
def test_a_file_with_an_output_that_cannot_be_served_is_run_by_the_backend_that_leaves_it_out(
    kind: str, tmp_path: Path
) -> None:
    if "onnxruntime" not in ONNX_BACKENDS:
        pytest.skip("there is no ONNX Runtime")
    path = tmp_path / "m.onnx"
    file = onnx_models.classifier(path) if kind == "classifier" else with_another_output(path, kind)
    opened = backends.open_model([file], None, None, 1, backends.CPU, {})
    assert opened.backend == "onnxruntime"
    left_out = "probabilities" if kind == "classifier" else "q"
    assert left_out not in [port["name"] for port in opened.subgraphs[0].outputs]
    for other in ONNX_BACKENDS:
        if other != "onnxruntime":
            with pytest.raises(
                backends.BackendError, match=rf"(?s)\n{other}: .*(ZipMap|SequenceMark|type|is no tensor)"
            ):
                opened_by(file, backend=other)
