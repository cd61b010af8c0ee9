"""TLS settings of a server."""

from __future__ import annotations

import os
from typing import TypeAlias

from servoir import check
from servoir.errors import MissingPemFile

# The path of a file, which messages name, and its content.
PemFile: TypeAlias = tuple[str, bytes]


class SSLConfig:
    """Certificates of a server, paths of PEM files. They are read when the server is started.

    Args:
        certificate: the server's own.
        private_key: of `certificate`.
        custom_ca: the authority that has signed the clients' certificates. Needed with `verify_client`, and ignored
            without.
        verify_client: a client without a certificate that `custom_ca` has signed is refused.

    Raises:
        RuntimeError: an argument has the wrong type; the text names it.
    """

    def __init__(
        self, certificate: str, private_key: str, custom_ca: str | None = None, verify_client: bool = False
    ) -> None:
        self.certificate = check.text("certificate", certificate)
        self.private_key = check.text("private_key", private_key)
        self.verify_client = check.flag("verify_client", verify_client)
        self.custom_ca: str | None = check.text("custom_ca", custom_ca) if verify_client else None

    def read(self) -> dict[str, PemFile | None]:
        """Reads the files.

        Returns:
            The path and the content of each, as Server.listen takes them.

        Raises:
            FileNotFoundError: a file does not exist. The error is a RuntimeError as well.
            RuntimeError: a file cannot be read.
        """
        return {
            "certificate": _read("certificate", self.certificate),
            "private_key": _read("private_key", self.private_key),
            "custom_ca": None if self.custom_ca is None else _read("custom_ca", self.custom_ca),
        }


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
