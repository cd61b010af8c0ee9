"""TLS settings of a server."""

from __future__ import annotations

import os
from typing import TypeAlias

from servoir import check

# A file's path, for messages, and its content.
PemFile: TypeAlias = tuple[str, bytes]


class SSLConfig:
    """Certificates of a server, paths of PEM files.

    certificate, private_key: the server's own. verify_client: clients must show a certificate that custom_ca has
    signed; custom_ca is needed then, and ignored otherwise.
    """

    def __init__(
        self, certificate: str, private_key: str, custom_ca: str | None = None, verify_client: bool = False
    ) -> None:
        self.certificate = check.text("certificate", certificate)
        self.private_key = check.text("private_key", private_key)
        self.verify_client = check.flag("verify_client", verify_client)
        self.custom_ca: str | None = check.text("custom_ca", custom_ca) if verify_client else None

    def read(self) -> dict[str, PemFile | None]:
        """The files' contents, as Server.listen takes them. MissingPemFile or RuntimeError if one cannot be read."""
        return {
            "certificate": _read("certificate", self.certificate),
            "private_key": _read("private_key", self.private_key),
            "custom_ca": None if self.custom_ca is None else _read("custom_ca", self.custom_ca),
        }


class MissingPemFile(FileNotFoundError, RuntimeError):
    """A file named in an SSLConfig does not exist."""


def _read(parameter: str, path: str) -> PemFile:
    try:
        with open(path, "rb") as file:
            return path, file.read()
    except FileNotFoundError as error:
        raise MissingPemFile(
            error.errno,
            f"Parameter '{parameter}' of SSLConfig: there is no such file (relative to {os.getcwd()})",
            path,
        ) from None
    except OSError as error:
        raise RuntimeError(
            f"Parameter '{parameter}' of SSLConfig: the file '{path}' cannot be read: {error.strerror}"
        ) from None
