"""TLS settings of a server."""

from __future__ import annotations

from servoir import check


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
