"""Client of a servable's method over gRPC.

Messages are written and read by servoir.client.codec, so that grpc only moves bytes. A Client may be used by several
threads. The connection is made with the first request.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from servoir import check

PREDICT = "/mindspore.serving.proto.MSService/Predict"
MAX_MESSAGE_BYTES = 512 << 20  # sent and received
MAX_VERSION = (1 << 64) - 1  # that the protocol can carry

Instances: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]]
# A dict an instance, or {"error": text} for the whole request.
Answer: TypeAlias = list[dict[str, Any]] | dict[str, str]


class SSLConfig:
    """Certificates of the client, paths of PEM files.

    certificate, private_key: the client's own, for servers that ask for one; both or none. custom_ca: the authority
    that has signed the server's certificate; None: grpc's default roots.
    """

    def __init__(
        self, certificate: str | None = None, private_key: str | None = None, custom_ca: str | None = None
    ) -> None:
        for name, value in (("certificate", certificate), ("private_key", private_key), ("custom_ca", custom_ca)):
            if value is not None:
                check.text(name, value)
        self.certificate = certificate
        self.private_key = private_key
        self.custom_ca = custom_ca


class Client:
    """Calls one method of a servable.

    Args:
        address: "host:port" or "unix:path".
        servable_name: name of the servable.
        method_name: name of its method.
        version_number: 0: the newest version that is running.
        ssl_config: for a server with TLS. Its certificate must name the address's host; for "unix:…", localhost.
    """

    def __init__(
        self,
        address: str,
        servable_name: str,
        method_name: str,
        version_number: int = 0,
        ssl_config: SSLConfig | None = None,
    ) -> None:
        self.address = check.text("address", address)
        self.servable_name = check.text("servable_name", servable_name)
        self.method_name = check.text("method_name", method_name)
        self.version_number = check.integer("version_number", version_number, 0, MAX_VERSION)
        if ssl_config is not None:
            if not isinstance(ssl_config, SSLConfig):
                raise check.refuse("ssl_config", "a servoir.client.SSLConfig or None", ssl_config)
            if (ssl_config.certificate is None) != (ssl_config.private_key is None):
                raise RuntimeError(
                    "Parameter 'ssl_config': certificate and private_key belong together, but one of them is None"
                )
        self._ssl_config = ssl_config
        self._channel: Any = None  # a grpc.Channel
        self._predict: Any = None
        self._connecting = threading.Lock()

    def infer(self, instances: Instances) -> Answer:
        """Sends the instances, a dict of inputs each, and waits for the answer.

        Returns a list with a dict of outputs for each instance, {"error": text} for one that failed; or one dict
        {"error": text} when the whole request failed. Raises RuntimeError for values that cannot be sent.
        """
        return self.infer_async(instances).result()

    def infer_async(self, instances: Instances) -> InferFuture:
        """Sends the instances; `result()` of what is returned waits for the answer."""
        from servoir.client import codec

        try:
            request = codec.write_request(
                self.servable_name, self.method_name, self.version_number, instances, MAX_MESSAGE_BYTES
            )
        except codec.TooLarge as error:  # nothing was put together or copied yet
            return InferFuture(None, {"error": f"Grpc Error, (8, 'resource exhausted'), {error}"})
        return InferFuture(self._stub().future(request))

    def close(self) -> None:
        """Closes the connection; the next request makes a new one."""
        with self._connecting:
            channel, self._channel, self._predict = self._channel, None, None
        if channel is not None:
            channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stub(self) -> Any:
        with self._connecting:
            if self._predict is None:
                self._channel = self._connect()
                self._predict = self._channel.unary_unary(PREDICT)
            return self._predict

    def _connect(self) -> Any:
        import grpc  # type: ignore[import-untyped]

        options: list[tuple[str, int | str]] = [
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ]
        if self._ssl_config is None:
            return grpc.insecure_channel(self.address, options=options)
        if self.address.startswith("unix:"):
            # A path is no name that a certificate could have.
            options.append(("grpc.ssl_target_name_override", "localhost"))
        credentials = grpc.ssl_channel_credentials(
            root_certificates=_read(self._ssl_config.custom_ca),
            private_key=_read(self._ssl_config.private_key),
            certificate_chain=_read(self._ssl_config.certificate),
        )
        return grpc.secure_channel(self.address, credentials, options=options)


class InferFuture:
    """An answer that is under way; or there is one already, because nothing was sent."""

    def __init__(self, call: Any, answer: Answer | None = None) -> None:
        self._call = call
        self._answer = answer

    def result(self) -> Answer:
        """Waits for the answer: the same as Client.infer gives."""
        if self._answer is not None:
            return self._answer

        import grpc

        from servoir.client import codec

        try:
            reply = self._call.result()
        except grpc.RpcError as error:
            return {"error": f"Grpc Error, {self._call.code().value}, {_details(error)}"}
        return codec.read_reply(reply)


def _details(error: Any) -> str:
    details = getattr(error, "details", None)
    return str(details()) if callable(details) else str(error)


def _read(path: str | None) -> bytes | None:
    if path is None:
        return None
    with open(path, "rb") as file:
        return file.read()
