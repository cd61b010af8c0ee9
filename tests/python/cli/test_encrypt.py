"""servoir encrypt."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from servoir import cli
from servoir.cli.encrypt import read_key
from servoir.encryption import DecryptionKey, decrypt_file
from servoir.errors import EncryptionError


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"a model")
    return path


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_bytes(b"\xff" * 16)
    return path


def run(*arguments: str | Path) -> int:
    return cli.main(["encrypt", *map(str, arguments)])


def test_the_file_goes_beside_the_model(model: Path, key_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, "--key-file", key_file) == 0
    assert decrypt_file(f"{model}.enc", DecryptionKey(b"\xff" * 16, "AES-GCM")) == b"a model"
    assert model.read_bytes() == b"a model"
    shown = capsys.readouterr().out
    assert shown == f"{model} -> {model}.enc (AES-GCM, key of 16 bytes)\n"


def test_mode_and_place(model: Path, key_file: Path, tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    assert run(model, "--key-file", key_file, "--mode", "AES-CBC", "-o", tmp_path / "1") == 0
    assert decrypt_file(str(tmp_path / "1" / "model.onnx"), DecryptionKey(b"\xff" * 16, "AES-CBC")) == b"a model"


def test_a_new_key(model: Path, tmp_path: Path) -> None:
    assert run(model, "--key-file", tmp_path / "new", "--new-key") == 0
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600
    key = read_key(str(tmp_path / "new"))
    assert len(key) == 32
    assert decrypt_file(f"{model}.enc", DecryptionKey(key, "AES-GCM")) == b"a model"


def test_an_ir_goes_with_its_weights(key_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ir.xml").write_bytes(b"<net>")
    (tmp_path / "ir.bin").write_bytes(b"weights")
    secret = DecryptionKey(b"\xff" * 16, "AES-GCM")
    assert run(tmp_path / "ir.xml", "--key-file", key_file, "-o", tmp_path / "other.txt") == 1
    assert "should end with '.xml' or '.xml.enc'" in capsys.readouterr().err
    assert run(tmp_path / "ir.xml", "--key-file", key_file) == 0
    assert decrypt_file(str(tmp_path / "ir.xml.enc"), secret) == b"<net>"
    assert decrypt_file(str(tmp_path / "ir.bin.enc"), secret) == b"weights"


@pytest.mark.parametrize("count", [16, 24, 32])
def test_key_files(tmp_path: Path, count: int) -> None:
    key, path = bytes(range(128, 128 + count)), tmp_path / "key"
    for content in (key, key.hex().encode(), key.hex().upper().encode() + b"\n", b" " + key.hex().encode() + b"\r\n"):
        path.write_bytes(content)
        assert read_key(str(path)) == key


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "0 bytes"),
        (b"\xff" * 17, "17 bytes"),
        (b"ab" * 17, "34 hexadecimal"),
        (b"abc", "3 hexadecimal"),
        (b"\xff" * 5000, "more"),
    ],
)
def test_files_that_are_no_key(tmp_path: Path, content: bytes, found: str) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(EncryptionError, match=f"should have 16, 24 or 32 bytes, or 32, 48 or 64 .* has {found}"):
        read_key(str(tmp_path / "key"))


def test_what_goes_wrong_is_said_in_a_line(
    model: Path, key_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*arguments: str | Path) -> str:
        assert run(*arguments) == 1
        text = capsys.readouterr().err
        assert text.startswith("servoir: ")
        assert text.count("\n") == 1
        return text

    assert "there is no file" in said(tmp_path / "none", "--key-file", key_file)
    assert "cannot be read: No such file or directory (--new-key makes one)" in said(
        model, "--key-file", tmp_path / "no"
    )
    assert "exists already; without --new-key it is used" in said(model, "--key-file", key_file, "--new-key")
    for place in (tmp_path / "no" / "out", f"{tmp_path}/no/"):
        assert f"there is no directory '{tmp_path}/no'" in said(
            model, "--key-file", tmp_path / "new", "--new-key", "-o", place
        )
    assert not (tmp_path / "new").exists()
    assert not Path(f"{model}.enc").exists()
    assert run(model, "--key-file", key_file) == 0
    assert "exists already; name another file with -o" in said(model, "--key-file", key_file)
    assert "is encrypted already" in said(f"{model}.enc", "--key-file", key_file)


@pytest.mark.parametrize(
    "arguments", [[], ["encrypt"], ["encrypt", "m"], ["encrypt", "m", "--key-file", "k", "--mode", "x"]]
)
def test_wrong_arguments_end_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert "usage: servoir" in capsys.readouterr().err


def test_python_m_servoir(model: Path, key_file: Path) -> None:
    command = [sys.executable, "-m", "servoir", "encrypt", str(model), "--key-file", str(key_file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Path(f"{model}.enc").is_file()
