"""Encrypted model files: `servoir encrypt` makes them, a worker that was given the key opens them in memory.

    file       := head ciphertext seal
    head       := magic version mode zero plain_bytes start key_check            (44 bytes, numbers little-endian)
    magic      := 93 53 45 52 56 45 4E 43                                         ("\\x93SERVENC")
    version    := 1 byte: 1
    mode       := 1 byte: 1 is AES-GCM, 2 is AES-CBC
    zero       := 2 bytes: 0
    plain_bytes:= 8 bytes: size of the model
    start      := 16 bytes: AES-GCM: nonce (12) and four zeros; AES-CBC: initialisation vector
    key_check  := 8 bytes: the first of HMAC-SHA256(key, "servoir key check" start)
    ciphertext := AES-GCM: plain_bytes bytes
                  AES-CBC: the next larger multiple of 16, the rest is padding as in PKCS #7
    seal       := AES-GCM: tag (16), which covers the head as well
                  AES-CBC: HMAC-SHA256(HMAC-SHA256(key, "servoir seal"), head ciphertext) (32)

The key has 16, 24 or 32 bytes (AES-128, 192, 256). key_check tells a wrong key from a file that was changed, and the
seal is verified before anything else looks at what was decrypted.
"""

from __future__ import annotations

import hashlib
import hmac
import importlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from servoir.errors import EncryptionError

MODES = ("AES-GCM", "AES-CBC")
KEY_BYTES = (16, 24, 32)
MAGIC = b"\x93SERVENC"
VERSION = 1

_HEAD = struct.Struct("<8sBBHQ16s8s")
_NUMBERS = {"AES-GCM": 1, "AES-CBC": 2}
_SEAL_BYTES = {"AES-GCM": 16, "AES-CBC": 32}
_NONCE_BYTES = 12
_BLOCK = 16
_CHUNK = 16 << 20


@dataclass(frozen=True)
class DecryptionKey:
    """`dec_key` and `dec_mode` of a ServableStartConfig. The key is not shown."""

    key: bytes = field(repr=False)
    mode: str


def is_encrypted(head: bytes) -> bool:
    """Whether a file with this beginning was made by `servoir encrypt`."""
    return head.startswith(MAGIC)


def mode_of(path: str) -> str:
    """The mode in the head of an encrypted file, for messages."""
    with open(path, "rb") as file:
        head = file.read(_HEAD.size)
    return next((mode for mode, number in _NUMBERS.items() if head[9:10] == bytes([number])), "an unknown mode")


def encrypt_file(source: str, target: str, secret: DecryptionKey) -> None:
    """Writes `target`, which must not exist yet. Raises EncryptionError for an empty or encrypted source as well."""
    ciphers = _ciphers()
    try:
        with open(source, "rb") as plain:
            head = plain.read(len(MAGIC))
            if not head:
                raise EncryptionError(f"'{source}' is empty, there is nothing to encrypt")
            if is_encrypted(head):
                raise EncryptionError(f"'{source}' is encrypted already")
            plain.seek(0)
            _write_new(target, _encrypted(plain, secret, ciphers))
    except OSError as error:
        raise EncryptionError(f"'{error.filename or source}': {error.strerror}") from error


def _write_new(target: str, pieces: Iterator[bytes]) -> None:
    try:
        with open(target, "xb") as file:
            try:
                file.writelines(pieces)
            except BaseException:
                os.unlink(target)
                raise
    except FileExistsError as error:
        raise EncryptionError(f"'{target}' exists already; name another file, or remove it first") from error


def _encrypted(plain: IO[bytes], secret: DecryptionKey, ciphers: Any) -> Iterator[bytes]:
    size = os.fstat(plain.fileno()).st_size
    gcm = secret.mode == "AES-GCM"
    start = os.urandom(_NONCE_BYTES) + bytes(4) if gcm else os.urandom(_BLOCK)
    head = _HEAD.pack(MAGIC, VERSION, _NUMBERS[secret.mode], 0, size, start, _key_check(secret.key, start))
    yield head
    encryptor = _cipher(ciphers, secret, start).encryptor()
    seal = hmac.new(_seal_key(secret.key), head, hashlib.sha256)
    if gcm:
        encryptor.authenticate_additional_data(head)
    done = 0
    while piece := plain.read(_CHUNK):
        done += len(piece)
        encrypted = encryptor.update(piece)
        seal.update(b"" if gcm else encrypted)
        yield encrypted
    if done != size:
        raise EncryptionError(f"'{plain.name}' changed from {size} to {done} bytes while it was being read")
    if gcm:
        yield encryptor.finalize()
        yield encryptor.tag
    else:
        left = _BLOCK - size % _BLOCK
        last = encryptor.update(bytes([left]) * left) + encryptor.finalize()
        seal.update(last)
        yield last
        yield seal.digest()


def decrypt_file(path: str, secret: DecryptionKey) -> bytes:
    """Decrypts the model in an encrypted file."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise EncryptionError(f"'{path}' cannot be read: {error.strerror}") from error
    return decrypt(data, secret, path)


def decrypt(data: bytes, secret: DecryptionKey, name: str) -> bytes:
    """`name`: of the file, for messages."""
    if not is_encrypted(data):
        raise EncryptionError(
            f"'{name}' is not a file that `servoir encrypt` has written: it does not begin with its magic bytes"
        )
    if len(data) < _HEAD.size:
        raise EncryptionError(
            f"'{name}' is truncated: it has {len(data)} bytes, its head alone should have {_HEAD.size}"
        )
    _, version, number, zero, plain_bytes, start, key_check = _HEAD.unpack_from(data)
    if version != VERSION:
        raise EncryptionError(
            f"'{name}' has version {version} of the format of encrypted files; this Servoir reads version {VERSION}"
        )
    mode = next((known for known, its in _NUMBERS.items() if its == number), None)
    if mode is None or zero:
        raise EncryptionError(f"'{name}' was changed after it was encrypted: its head says mode {number}, {zero}")
    if mode != secret.mode:
        raise EncryptionError(
            f"'{name}' is encrypted with {mode}, but 'dec_mode' is {secret.mode!r}; it should be {mode!r}"
        )
    cipher_bytes = plain_bytes if mode == "AES-GCM" else (plain_bytes // _BLOCK + 1) * _BLOCK
    expected = _HEAD.size + cipher_bytes + _SEAL_BYTES[mode]
    if len(data) != expected:
        what = "is truncated" if len(data) < expected else "has something after its end"
        raise EncryptionError(f"'{name}' {what}: it has {len(data)} bytes, its head announces {expected}")
    if not hmac.compare_digest(key_check, _key_check(secret.key, start)):
        raise EncryptionError(
            f"'{name}' was encrypted with another key than the one given (of {len(secret.key)} bytes): the key is wrong"
        )
    return _opened(memoryview(data), plain_bytes, start, secret, name)


def _opened(data: memoryview, plain_bytes: int, start: bytes, secret: DecryptionKey, name: str) -> bytes:
    ciphers = _ciphers()
    head, seal = data[: _HEAD.size], bytes(data[-_SEAL_BYTES[secret.mode] :])
    ciphertext = data[_HEAD.size : len(data) - len(seal)]
    tampered = EncryptionError(
        f"'{name}' was changed after it was encrypted: its seal does not match its content; copy or encrypt it anew"
    )
    decryptor = _cipher(ciphers, secret, start, seal).decryptor()
    if secret.mode == "AES-GCM":
        decryptor.authenticate_additional_data(bytes(head))
        plain: bytes = decryptor.update(ciphertext)
        try:
            decryptor.finalize()
        except Exception as error:  # InvalidTag, of a package that is imported only here
            raise tampered from error
        return plain
    computed = hmac.new(_seal_key(secret.key), head, hashlib.sha256)
    computed.update(ciphertext)
    if not hmac.compare_digest(computed.digest(), seal):
        raise tampered
    padded: bytes = decryptor.update(ciphertext) + decryptor.finalize()
    padding = padded[plain_bytes:]
    if padding != bytes([len(padding)]) * len(padding):
        raise EncryptionError(
            f"'{name}': the padding after its last byte is wrong: what encrypted it did not fill up as PKCS #7 says,"
            f" as `servoir encrypt` does"
        )
    return padded[:plain_bytes]


def _key_check(key: bytes, start: bytes) -> bytes:
    return hmac.digest(key, b"servoir key check" + start, "sha256")[:8]


def _seal_key(key: bytes) -> bytes:
    return hmac.digest(key, b"servoir seal", "sha256")


def _cipher(ciphers: Any, secret: DecryptionKey, start: bytes, tag: bytes | None = None) -> Any:
    if secret.mode == "AES-GCM":
        mode = ciphers.modes.GCM(start[:_NONCE_BYTES], tag)
    else:
        mode = ciphers.modes.CBC(start)
    return ciphers.Cipher(ciphers.algorithms.AES(secret.key), mode)


def _ciphers() -> Any:
    try:
        return importlib.import_module("cryptography.hazmat.primitives.ciphers")
    except ImportError as error:
        raise EncryptionError(
            f"encrypted models need the package cryptography, which cannot be imported ({error});"
            f" pip install 'servoir[encryption]'"
        ) from error
