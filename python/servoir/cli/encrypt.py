"""servoir encrypt: makes an encrypted model file of a plain one.

    key file := 16, 24 or 32 bytes, or as many in hexadecimal digits, with white space around them or not

A file of hexadecimal digits only is always taken for that.
"""

from __future__ import annotations

import argparse
import os
import re
from typing import TYPE_CHECKING

from servoir import encryption
from servoir.encryption import DecryptionKey
from servoir.errors import EncryptionError

if TYPE_CHECKING:
    Subcommands = argparse._SubParsersAction[argparse.ArgumentParser]

_DESCRIPTION = """\
Encrypts a model's file with AES. ServableStartConfig(dec_key=KEY, dec_mode=MODE) serves it: workers decrypt it in
memory. The weights of an OpenVINO file (NAME.bin next to NAME.xml) are encrypted with it. The plain files stay."""


def add(subcommands: Subcommands) -> None:
    parser = subcommands.add_parser("encrypt", help="encrypt a model's file", description=_DESCRIPTION)
    parser.add_argument("model", metavar="MODEL", help="the plain file")
    parser.add_argument(
        "--key-file", metavar="K", required=True, help="16, 24 or 32 bytes, or as many in hexadecimal digits"
    )
    parser.add_argument("--new-key", action="store_true", help="write a new random key of 32 bytes to K first")
    parser.add_argument(
        "--mode",
        choices=encryption.MODES,
        default=encryption.MODES[0],
        help="default %(default)s; the same as dec_mode",
    )
    parser.add_argument("-o", metavar="OUT", dest="out", help="file, or directory, to write to; default MODEL.enc")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    if not os.path.isfile(arguments.model):
        raise EncryptionError(f"there is no file '{arguments.model}'")
    out: str = arguments.out or f"{arguments.model}.enc"
    if os.path.isdir(out):
        out = os.path.join(out, os.path.basename(arguments.model))
    elif not os.path.isdir(os.path.dirname(out) or "."):
        raise EncryptionError(f"there is no directory '{os.path.dirname(out)}' to write to")
    pairs = [(arguments.model, out), *_weights(arguments.model, out)]
    for _, target in pairs:
        if os.path.exists(target):
            raise EncryptionError(f"'{target}' exists already; name another file with -o, or remove it first")
    key = make_key(arguments.key_file) if arguments.new_key else read_key(arguments.key_file)
    for source, target in pairs:
        encryption.encrypt_file(source, target, DecryptionKey(key, arguments.mode))
        print(f"{source} -> {target} ({arguments.mode}, key of {len(key)} bytes)")
    return 0


def _weights(model: str, out: str) -> list[tuple[str, str]]:
    from servoir.backends.model_file import weights_path

    source = weights_path(model)
    if source is None or not os.path.isfile(source):
        return []
    target = weights_path(out)
    if target is None:
        raise EncryptionError(
            f"'{out}' should end with '.xml' or '.xml.enc', because the weights '{source}' go with it and are looked"
            f" for by its name"
        )
    return [(source, target)]


def read_key(path: str) -> bytes:
    """The key in a key file."""
    try:
        with open(path, "rb") as file:
            content = file.read(1 << 10)
    except OSError as error:
        raise EncryptionError(
            f"the key file '{path}' cannot be read: {error.strerror} (--new-key makes one)"
        ) from error
    digits = content.strip()
    if re.fullmatch(rb"[0-9A-Fa-f]+", digits):
        key = bytes.fromhex(digits.decode()) if len(digits) % 2 == 0 else b""
        found = f"{len(digits)} hexadecimal digits"
    else:
        key, found = content, f"{len(content)} bytes" if len(content) < 1 << 10 else "more"
    if len(key) not in encryption.KEY_BYTES:
        raise EncryptionError(
            f"the key file '{path}' should have 16, 24 or 32 bytes, or 32, 48 or 64 hexadecimal digits, but has {found}"
        )
    return key


def make_key(path: str) -> bytes:
    """Writes a new key in hexadecimal digits that only its owner can read; never over another."""
    key = os.urandom(32)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise EncryptionError(f"the key file '{path}' exists already; without --new-key it is used") from error
    except OSError as error:
        raise EncryptionError(f"the key file '{path}' cannot be made: {error.strerror}") from error
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(key.hex() + "\n")
    return key
