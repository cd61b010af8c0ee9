"""A model's file on its way to a backend: decrypted in memory where it is encrypted.

Two kinds of encryption are known: Servoir's own (servoir.encryption), for all formats, and that of
`mindspore.export(enc_key=…)`, which MindSpore itself opens.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from servoir import encryption
from servoir.encryption import DecryptionKey
from servoir.errors import BackendError, EncryptionError

HEAD_BYTES = 4096
# How a file begins that mindspore.export has encrypted: a magic number for each mode, little-endian.
_MINDSPORE_MODES = {b"\xd8\x5e\x3a\x7f": "AES-GCM", b"\xd9\x5e\x3a\x7f": "AES-CBC"}


@dataclass(frozen=True)
class ModelFile:
    path: str
    content: bytes | None = field(default=None, repr=False)  # decrypted; None: what lies at `path`
    key: DecryptionKey | None = None  # that the file was, or is to be, decrypted with
    mindspore_mode: str | None = None  # encrypted by MindSpore in this mode, and still so

    def head(self) -> bytes:
        """How the content begins. BackendError if it cannot be read."""
        return self.content[:HEAD_BYTES] if self.content is not None else _read_head(self.path)


def read_model_file(path: str, key: DecryptionKey | None) -> ModelFile:
    """BackendError, saying what to do, for an encrypted file without a key, for a key without an encrypted file, and
    for a file that the key does not open."""
    head = _read_head(path)
    mindspore_mode = _MINDSPORE_MODES.get(head[:4])
    if encryption.is_encrypted(head):
        if key is None:
            raise BackendError(
                f"the model file '{path}' is encrypted ({encryption.mode_of(path)}) by `servoir encrypt`; give its key"
                f" as 'dec_key' of ServableStartConfig"
            )
        try:
            return ModelFile(path, encryption.decrypt_file(path, key), key)
        except EncryptionError as error:
            raise BackendError(f"the model file {error}") from error
    if mindspore_mode is not None:
        if key is None:
            raise BackendError(
                f"the model file '{path}' is encrypted ({mindspore_mode}) by MindSpore; give its key as 'dec_key' of"
                f" ServableStartConfig"
            )
        if key.mode != mindspore_mode:
            raise BackendError(
                f"the model file '{path}' is encrypted with {mindspore_mode} by MindSpore, but 'dec_mode' is"
                f" {key.mode!r}; it should be {mindspore_mode!r}"
            )
        return ModelFile(path, None, key, mindspore_mode)
    if key is not None:
        raise BackendError(
            f"the model file '{path}' is not encrypted, but ServableStartConfig has a 'dec_key' for it: it begins"
            f" neither as `servoir encrypt` writes nor as MindSpore's encryption does; encrypt it, or leave out"
            f" 'dec_key'"
        )
    return ModelFile(path)


def is_encrypted(path: str) -> bool:
    """In one of the two ways."""
    head = _read_head(path)
    return encryption.is_encrypted(head) or head[:4] in _MINDSPORE_MODES


def missing_file(path: str) -> str:
    """Why there is no file at this path."""
    if os.path.isdir(path):
        return f"'{path}' is a directory, and should be a file"
    if os.path.islink(path):
        return f"'{path}' is a link to '{os.path.realpath(path)}', which is not there"
    return f"there is no file '{path}'"


def weights_path(path: str) -> str | None:
    """Where the weights of an IR file lie: NAME.bin for NAME.xml, NAME.bin.enc for NAME.xml.enc."""
    found = re.fullmatch(r"(.*)\.xml(\.enc)?", path, re.DOTALL)
    return f"{found[1]}.bin{found[2] or ''}" if found else None


def _read_head(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise BackendError(f"the model file '{path}' cannot be read: {error.strerror}") from error
