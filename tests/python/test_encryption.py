"""Encrypted files: what the format promises, and what is said of files that do not keep it."""

from __future__ import annotations

import hmac
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from servoir import encryption
from servoir.encryption import DecryptionKey, decrypt_file, encrypt_file
from servoir.errors import EncryptionError

KEY = bytes(range(32))
HEAD = 44


def encrypted(path: Path, plain: bytes, secret: DecryptionKey) -> Path:
    source, target = path / "plain", path / "model.enc"
    source.write_bytes(plain)
    encrypt_file(str(source), str(target), secret)
    return target


@pytest.mark.parametrize("mode", encryption.MODES)
@pytest.mark.parametrize("key_bytes", encryption.KEY_BYTES)
@pytest.mark.parametrize("size", [1, 15, 16, 17, 100_001])
def test_what_was_encrypted_is_decrypted(tmp_path: Path, mode: str, key_bytes: int, size: int) -> None:
    plain = bytes(i % 251 for i in range(size))
    secret = DecryptionKey(KEY[:key_bytes], mode)
    target = encrypted(tmp_path, plain, secret)
    assert decrypt_file(str(target), secret) == plain
    assert plain[:15] not in target.read_bytes()[HEAD:] or size < 15


@pytest.mark.parametrize("mode", encryption.MODES)
def test_files_larger_than_a_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setattr(encryption, "_CHUNK", 1000)
    plain = bytes(range(256)) * 40
    target = encrypted(tmp_path, plain, DecryptionKey(KEY, mode))
    assert decrypt_file(str(target), DecryptionKey(KEY, mode)) == plain


@pytest.mark.parametrize("mode", encryption.MODES)
def test_equal_files_are_encrypted_differently(tmp_path: Path, mode: str) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first, second = (encrypted(tmp_path / name, b"x" * 99, DecryptionKey(KEY, mode)).read_bytes() for name in "ab")
    assert first[HEAD:] != second[HEAD:]


def test_the_format_is_what_the_grammar_says(tmp_path: Path) -> None:
    """Read with other means than those of the module."""
    data = encrypted(tmp_path, b"a model", DecryptionKey(KEY, "AES-GCM")).read_bytes()
    assert data[:12] == b"\x93SERVENC" + bytes([1, 1, 0, 0])
    assert struct.unpack_from("<Q", data, 12) == (7,)
    assert AESGCM(KEY).decrypt(data[20:32], data[HEAD:], data[:HEAD]) == b"a model"

    (tmp_path / "cbc").mkdir()
    data = encrypted(tmp_path / "cbc", b"a model", DecryptionKey(KEY, "AES-CBC")).read_bytes()
    assert data[8:12] == bytes([1, 2, 0, 0])
    decryptor = Cipher(algorithms.AES(KEY), modes.CBC(data[20:36])).decryptor()
    assert decryptor.update(data[HEAD:-32]) == b"a model" + bytes([9]) * 9


@pytest.mark.parametrize("mode", encryption.MODES)
@pytest.mark.parametrize("other", [bytes(32), KEY[:16]])
def test_a_wrong_key(tmp_path: Path, mode: str, other: bytes) -> None:
    target = encrypted(tmp_path, b"a model", DecryptionKey(KEY, mode))
    with pytest.raises(
        EncryptionError, match=rf"model.enc' was encrypted with another key .*of {len(other)} bytes.*wrong"
    ):
        decrypt_file(str(target), DecryptionKey(other, mode))


@pytest.mark.parametrize("mode", encryption.MODES)
@pytest.mark.parametrize("place", [20, 40, HEAD, HEAD + 20, -1, -20])
def test_a_changed_byte_is_noticed(tmp_path: Path, mode: str, place: int) -> None:
    target = encrypted(tmp_path, b"a model" * 10, DecryptionKey(KEY, mode))
    data = bytearray(target.read_bytes())
    data[place] ^= 1
    target.write_bytes(data)
    # In `start` and `key_check` a change cannot be told from a wrong key.
    said = "the key is wrong" if 0 <= place < HEAD else "was changed after it was encrypted"
    with pytest.raises(EncryptionError, match=said):
        decrypt_file(str(target), DecryptionKey(KEY, mode))


@pytest.mark.parametrize("mode", encryption.MODES)
@pytest.mark.parametrize(
    ("cut", "said"),
    [
        (7, "does not begin with its magic"),
        (8, "truncated.*8 bytes.*44"),
        (43, "truncated"),
        (44, "truncated: it has 44"),
        (-1, "truncated"),
        (-32, "truncated"),
    ],
)
def test_a_truncated_file(tmp_path: Path, mode: str, cut: int, said: str) -> None:
    target = encrypted(tmp_path, b"a model" * 10, DecryptionKey(KEY, mode))
    target.write_bytes(target.read_bytes()[:cut])
    with pytest.raises(EncryptionError, match=said):
        decrypt_file(str(target), DecryptionKey(KEY, mode))


@pytest.mark.parametrize("mode", encryption.MODES)
def test_what_lies_behind_the_end_is_noticed(tmp_path: Path, mode: str) -> None:
    target = encrypted(tmp_path, b"a model", DecryptionKey(KEY, mode))
    target.write_bytes(target.read_bytes() + b"more")
    with pytest.raises(EncryptionError, match="has something after its end"):
        decrypt_file(str(target), DecryptionKey(KEY, mode))


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (0, 0, "does not begin with its magic bytes"),
        (8, 2, "version 2 .* reads version 1"),
        (9, 7, "head says mode 7"),
        (10, 1, "was changed"),
        (9, 2, "encrypted with AES-CBC, but 'dec_mode' is 'AES-GCM'; it should be 'AES-CBC'"),
    ],
)
def test_a_changed_head(tmp_path: Path, place: int, value: int, said: str) -> None:
    target = encrypted(tmp_path, b"a model", DecryptionKey(KEY, "AES-GCM"))
    data = bytearray(target.read_bytes())
    data[place] = value
    target.write_bytes(data)
    with pytest.raises(EncryptionError, match=said):
        decrypt_file(str(target), DecryptionKey(KEY, "AES-GCM"))


def test_wrong_padding(tmp_path: Path) -> None:
    """Encrypted with the key by a program that pads in another way."""
    data = encrypted(tmp_path, b"a model", DecryptionKey(KEY, "AES-CBC")).read_bytes()
    head = data[:HEAD]
    encryptor = Cipher(algorithms.AES(KEY), modes.CBC(head[20:36])).encryptor()
    body = head + encryptor.update(b"a model" + bytes(9))
    seal = hmac.digest(hmac.digest(KEY, b"servoir seal", "sha256"), body, "sha256")
    (tmp_path / "model.enc").write_bytes(body + seal)
    with pytest.raises(EncryptionError, match=r"the padding after its last byte is wrong.*PKCS #7"):
        decrypt_file(str(tmp_path / "model.enc"), DecryptionKey(KEY, "AES-CBC"))


def test_what_is_not_encrypted(tmp_path: Path) -> None:
    secret = DecryptionKey(KEY, "AES-GCM")
    target = encrypted(tmp_path, b"a model", secret)
    with pytest.raises(EncryptionError, match=r"model\.enc' is encrypted already"):
        encrypt_file(str(target), str(tmp_path / "twice"), secret)
    with pytest.raises(EncryptionError, match=r"model\.enc' exists already"):
        encrypt_file(str(tmp_path / "plain"), str(target), secret)
    assert decrypt_file(str(target), secret) == b"a model"
    (tmp_path / "empty").touch()
    with pytest.raises(EncryptionError, match="empty' is empty"):
        encrypt_file(str(tmp_path / "empty"), str(tmp_path / "new"), secret)
    with pytest.raises(EncryptionError, match="missing': No such file"):
        encrypt_file(str(tmp_path / "missing"), str(tmp_path / "new"), secret)
    with pytest.raises(EncryptionError, match="No such file"):
        encrypt_file(str(tmp_path / "plain"), str(tmp_path / "no" / "directory"), secret)
    assert not (tmp_path / "new").exists()


def test_the_key_is_not_shown() -> None:
    assert repr(DecryptionKey(b"0123456789abcdef", "AES-GCM")) == "DecryptionKey(mode='AES-GCM')"


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = encrypted(tmp_path, b"a model", DecryptionKey(KEY, "AES-GCM"))

    def missing(name: str) -> Any:
        raise ImportError(f"No module named '{name.partition('.')[0]}'")

    monkeypatch.setattr(encryption, "importlib", SimpleNamespace(import_module=missing))
    for work in (
        lambda: decrypt_file(str(target), DecryptionKey(KEY, "AES-GCM")),
        lambda: encrypt_file(str(tmp_path / "plain"), str(tmp_path / "new"), DecryptionKey(KEY, "AES-GCM")),
    ):
        with pytest.raises(
            EncryptionError, match=r"No module named 'cryptography'.*pip install 'servoir\[encryption\]'"
        ):
            work()
    assert not (tmp_path / "new").exists()
