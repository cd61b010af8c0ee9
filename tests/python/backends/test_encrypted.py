"""Encrypted model files, opened by each backend, and what is said where key and file do not go together."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from servoir import backends, encryption
from servoir.encryption import DecryptionKey
from support.models import onnx_models
from support.models.ir_models import ADD

KEY = DecryptionKey(bytes(range(16)), "AES-GCM")


def opened(
    path: Path | str, key: DecryptionKey | None, backend: str | None = None, model_format: str | None = None
) -> backends.OpenedModel:
    return backends.open_model([str(path)], model_format, backend, 1, backends.CPU, {}, key)


def encrypt(path: Path | str, key: DecryptionKey = KEY) -> str:
    encryption.encrypt_file(str(path), f"{path}.enc", key)
    os.unlink(path)
    return f"{path}.enc"


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("mode", encryption.MODES)
@pytest.mark.parametrize("model_format", [None, "ONNX"])
def test_onnx(backend: str, mode: str, model_format: str | None, tmp_path: Path) -> None:
    key = DecryptionKey(bytes(range(24)), mode)
    path = encrypt(onnx_models.add(tmp_path / "add.onnx"), key)
    made = opened(path, key, backend, model_format)
    assert made.backend == backend
    subgraph = made.subgraphs[0]
    assert subgraph.inputs[1] == {"name": "b", "dtype": "float32", "shape": [-1, 2]}
    x = np.ones((3, 2), np.float32)
    assert subgraph.execute_copied([x, x])[0].tolist() == (x + x).tolist()


IR_WITH_WEIGHTS = """<?xml version="1.0"?>
<net name="add" version="11">
 <layers>
  <layer id="0" name="x" type="Parameter" version="opset1">
   <data shape="?,2" element_type="f32"/>
   <output><port id="0" precision="FP32"><dim>-1</dim><dim>2</dim></port></output>
  </layer>
  <layer id="1" name="w" type="Const" version="opset1">
   <data element_type="f32" shape="1,2" offset="0" size="8"/>
   <output><port id="0" precision="FP32"><dim>1</dim><dim>2</dim></port></output>
  </layer>
  <layer id="2" name="sum" type="Add" version="opset1">
   <data auto_broadcast="numpy"/>
   <input><port id="0"><dim>-1</dim><dim>2</dim></port><port id="1"><dim>1</dim><dim>2</dim></port></input>
   <output><port id="2" precision="FP32"><dim>-1</dim><dim>2</dim></port></output>
  </layer>
  <layer id="3" name="out" type="Result" version="opset1">
   <input><port id="0"><dim>-1</dim><dim>2</dim></port></input>
  </layer>
 </layers>
 <edges>
  <edge from-layer="0" from-port="0" to-layer="2" to-port="0"/>
  <edge from-layer="1" from-port="0" to-layer="2" to-port="1"/>
  <edge from-layer="2" from-port="2" to-layer="3" to-port="0"/>
 </edges>
</net>
"""


@pytest.mark.parametrize("mode", encryption.MODES)
def test_ir_with_its_weights(mode: str, tmp_path: Path) -> None:
    """Its constants stay right after the bytes that they were read from are gone."""
    key = DecryptionKey(bytes(range(32)), mode)
    (tmp_path / "ir.xml").write_text(IR_WITH_WEIGHTS)
    (tmp_path / "ir.bin").write_bytes(np.array([10, 20], np.float32).tobytes())
    path = encrypt(tmp_path / "ir.xml", key)
    encrypt(tmp_path / "ir.bin", key)
    subgraph = opened(path, key).subgraphs[0]
    rubbish = [bytes(range(256)) * 8 for _ in range(1000)]
    assert subgraph.execute_copied([np.ones((2, 2), np.float32)])[0].tolist() == [[11, 21], [11, 21]]
    del rubbish


def test_ir_without_weights(tmp_path: Path) -> None:
    (tmp_path / "ir.xml").write_text(ADD)
    subgraph = opened(encrypt(tmp_path / "ir.xml"), KEY).subgraphs[0]
    assert subgraph.execute_copied([np.ones((2, 2), np.float32)])[0].tolist() == [[2, 2], [2, 2]]


def test_weights_are_encrypted_as_the_model_is(tmp_path: Path) -> None:
    (tmp_path / "ir.xml").write_text(IR_WITH_WEIGHTS)
    (tmp_path / "ir.bin").write_bytes(bytes(8))
    encrypted = encrypt(tmp_path / "ir.xml")
    (tmp_path / "ir.bin.enc").write_bytes(bytes(8))
    with pytest.raises(RuntimeError, match=r"ir\.bin\.enc' is not encrypted"):
        opened(encrypted, KEY)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime", None])
def test_an_encrypted_file_that_is_no_model(backend: str | None, tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"\x08\x08:" + b"no model at all" * 9)
    with pytest.raises(RuntimeError, match=r"bad\.enc"):
        opened(encrypt(tmp_path / "bad"), KEY, backend)
    (tmp_path / "unknown").write_bytes(b"no model at all")
    with pytest.raises(RuntimeError, match=r"the format of the model file '.*unknown\.enc' is unknown"):
        opened(encrypt(tmp_path / "unknown"), KEY, backend)


def test_key_and_file_that_do_not_go_together(tmp_path: Path) -> None:
    plain = onnx_models.add(tmp_path / "plain.onnx")
    with pytest.raises(
        RuntimeError, match=r"plain\.onnx' is not encrypted, but .* has a 'dec_key'.*; encrypt it, or leave"
    ):
        opened(plain, KEY)
    path = encrypt(onnx_models.add(tmp_path / "add.onnx"))
    with pytest.raises(RuntimeError, match=r"is encrypted \(AES-GCM\) by `servoir encrypt`; give its key as 'dec_key'"):
        opened(path, None)
    with pytest.raises(RuntimeError, match=r"the model file '.*add\.onnx\.enc' was encrypted with another key"):
        opened(path, DecryptionKey(bytes(16), "AES-GCM"))
    with pytest.raises(RuntimeError, match="is encrypted with AES-GCM, but 'dec_mode' is 'AES-CBC'; it should be"):
        opened(path, DecryptionKey(KEY.key, "AES-CBC"))
    Path(path).write_bytes(Path(path).read_bytes()[:-1])
    with pytest.raises(RuntimeError, match="is truncated"):
        opened(path, KEY)


@pytest.mark.parametrize(("magic", "mode"), [(b"\xd8\x5e\x3a\x7f", "AES-GCM"), (b"\xd9\x5e\x3a\x7f", "AES-CBC")])
def test_files_that_mindspore_has_encrypted(magic: bytes, mode: str, tmp_path: Path) -> None:
    path = tmp_path / "net.mindir"
    path.write_bytes(magic + bytes(100))
    with pytest.raises(RuntimeError, match=rf"is encrypted \({mode}\) by MindSpore; give its key as 'dec_key'"):
        opened(path, None)
    other = {"AES-GCM": "AES-CBC", "AES-CBC": "AES-GCM"}[mode]
    with pytest.raises(
        RuntimeError, match=f"with {mode} by MindSpore, but 'dec_mode' is '{other}'; it should be '{mode}'"
    ):
        opened(path, DecryptionKey(KEY.key, other))
    with pytest.raises(RuntimeError, match="its format is MindIR, but 'model_format' is ONNX"):
        opened(path, DecryptionKey(KEY.key, mode), None, "ONNX")
