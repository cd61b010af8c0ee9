"""Client of a servable's method over gRPC.

Messages are written and read by servoir.client.codec, so that grpc only moves bytes. A Client may be used by several
threads. The connection is made with the first request.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, overload

from servoir import check
from servoir.client.errors import Answer, InferError
from servoir.client.future import InferFuture, failure, settled
from servoir.client.proxy import is_local

PREDICT = "/mindspore.serving.proto.MSService/Predict"
MAX_MESSAGE_BYTES = 512 << 20  # sent and received
MAX_VERSION = (1 << 64) - 1  # that the protocol can carry
USUAL_PRIORITY = 3  # of a request that does not say its own

Instances: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class SSLConfig:
    """Certificates of the client, paths of PEM files. They are read when the connection is made.

    Args:
        certificate: the client's own, for servers that ask for one. Needs `private_key`.
        private_key: of `certificate`.
        custom_ca: the authority that has signed the server's certificate. None: grpc's default roots.

    Raises:
        RuntimeError: an argument is neither None nor a str that is not empty.
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
    """Calls one method of a servable over gRPC. Several threads may use a client at the same time.

    The connection is made with the first request. As a context manager a client closes it at the end.

    Args:
        address: "host:port" or "unix:path".
        servable_name: name of the servable.
        method_name: name of its method.
        version_number: version of the servable. 0: the newest that is running.
        ssl_config: for a server with TLS. Its certificate must name the host of `address`, or localhost where that is
            "unix:path".

    Raises:
        RuntimeError: an argument has the wrong type or is out of range; the text names it.

    Example:
        >>> with Client("127.0.0.1:5500", "add", "add_common") as client:
        ...     client.infer({"x1": numpy.float32([1, 2]), "x2": numpy.float32([3, 4])})
        [{'y': array([4., 6.], dtype=float32)}]
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

    @overload
    def infer(
        self,
        instances: Instances,
        *,
        timeout: float | None = None,
        raise_errors: Literal[False] = False,
        priority: int = USUAL_PRIORITY,
    ) -> Answer: ...
    @overload
    def infer(
        self,
        instances: Instances,
        *,
        timeout: float | None = None,
        raise_errors: Literal[True],
        priority: int = USUAL_PRIORITY,
    ) -> list[dict[str, Any]]: ...
    @overload
    def infer(
        self,
        instances: Instances,
        *,
        timeout: float | None = None,
        raise_errors: bool,
        priority: int = USUAL_PRIORITY,
    ) -> Answer: ...
    def infer(
        self,
        instances: Instances,
        *,
        timeout: float | None = None,
        raise_errors: bool = False,
        priority: int = USUAL_PRIORITY,
    ) -> Answer:
        """Sends a request and waits for the answer.

        Args:
            instances: a dict of inputs by name, or a list or tuple of such dicts. Each instance is independent of the
                others, and its arrays have no batch dimension. A value may be a numpy array of bools, ints, unsigned
                ints or floats (float16 to float64), a numpy number, or a Python bool, int, float, str or bytes. Python
                numbers are sent as bool, int64 and float64 of shape (1,), numpy numbers with the shape (). Texts in an
                array are sent from a numpy array of bytes (dtype S) or of numpy.dtypes.StringDType.
            timeout: seconds until the server has to have answered. What no worker has been given by then is dropped.
                None: no limit.
            raise_errors: raise an InferError instead of returning errors in the answer.
            priority: 0 to 7. The server runs requests of lower numbers first.

        Returns:
            A list with a dict for each instance, in their order: outputs by name, or {"error": text} where the instance
            failed. Outputs are numpy arrays without a batch dimension, str or bytes; arrays are read-only and stay
            valid as long as they are kept, and a single number is an array of shape (). An array of texts is a list of
            str or bytes, nested by its shape.
            One dict {"error": text} instead of the list when the whole request failed: all instances have failed alike,
            the request was not accepted, the server could not be reached, or the time was up. For the last two the text
            is "Grpc Error, (CODE, 'NAME'), DETAILS".

        Raises:
            InferError: with `raise_errors`, the request or some of its instances failed. It has the code and the text
                of the error, those of each instance, and the answer with the outputs of the other instances.
            RuntimeError: a value that cannot be sent; nothing was sent then.
            FileNotFoundError: a file of `ssl_config` is not there.
        """
        check.flag("raise_errors", raise_errors)
        seconds = None if timeout is None else check.seconds("timeout", timeout)
        metadata = _metadata(priority)
        request = self._request(instances)
        if isinstance(request, InferError):
            return settled(request, raise_errors)

        import grpc

        from servoir.client import codec

        # grpc's own call in this thread: a future would have another thread wake this one.
        try:
            reply = self._stub()(request, timeout=seconds, metadata=metadata)
        except grpc.RpcError as call:
            error = failure(call, self.address)
        else:
            return settled(codec.read_outcome(reply), raise_errors)
        return settled(error, raise_errors)

    def infer_async(
        self, instances: Instances, *, timeout: float | None = None, priority: int = USUAL_PRIORITY
    ) -> InferFuture:
        """Sends a request and returns at once.

        Args:
            instances: as for infer().
            timeout: as for infer(), from now on.
            priority: as for infer().

        Returns:
            The answer to come; its result() waits for it.

        Raises:
            RuntimeError: a value that cannot be sent; nothing was sent then.
            FileNotFoundError: a file of `ssl_config` is not there.
        """
        seconds = None if timeout is None else check.seconds("timeout", timeout)
        metadata = _metadata(priority)
        request = self._request(instances)
        if isinstance(request, InferError):
            return InferFuture(None, request)
        return InferFuture(self._stub().future(request, timeout=seconds, metadata=metadata), address=self.address)

    def close(self) -> None:
        """Closes the connection. Requests on the way fail; the next request makes a new connection."""
        with self._connecting:
            channel, self._channel, self._predict = self._channel, None, None
        if channel is not None:
            channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _request(self, instances: Instances) -> bytes | InferError:
        from servoir.client import codec

        try:
            return codec.write_request(
                self.servable_name, self.method_name, self.version_number, instances, MAX_MESSAGE_BYTES
            )
        except codec.TooLarge as error:  # nothing was put together or copied yet
            text = str(error)
            return InferError.of_request("RESOURCE_EXHAUSTED", text, f"Grpc Error, (8, 'resource exhausted'), {text}")

    def _stub(self) -> Any:
        with self._connecting:
            if self._predict is None:
                self._channel = self._connect()
                self._predict = self._channel.unary_unary(PREDICT)
            return self._predict

    def _connect(self) -> Any:
        import grpc

        options: list[tuple[str, int | str]] = [
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ]
        if is_local(self.address):
            options.append(("grpc.enable_http_proxy", 0))
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


def _metadata(priority: int) -> tuple[tuple[str, str], ...]:
    """The Priority header of RFC 9218, section 4, where the priority is not that of a request without it."""
    check.integer("priority", priority, 0, 7)
    return () if priority == USUAL_PRIORITY else (("priority", f"u={priority}"),)


def _read(path: str | None) -> bytes | None:
    if path is None:
        return None
    with open(path, "rb") as file:
        return file.read()
