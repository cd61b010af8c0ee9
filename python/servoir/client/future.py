"""An answer that is on its way."""

from __future__ import annotations

from typing import Any, Literal, overload

from servoir import check
from servoir.client.errors import Answer, InferError
from servoir.client.proxy import proxy_note


def settled(outcome: list[dict[str, Any]] | InferError, raise_errors: bool) -> Answer:
    """The answer, or the error raised."""
    if not isinstance(outcome, InferError):
        return outcome
    if raise_errors:
        raise outcome
    return outcome.answer


def failure(call: Any, address: str) -> InferError:
    """Of a call of gRPC to this address that has ended without a reply."""
    code, details = call.code(), call.details()
    if code.name == "UNAVAILABLE":
        details = f"{details}{proxy_note(address)}"
    return InferError.of_request(code.name, str(details), f"Grpc Error, {code.value}, {details}")


class InferFuture:
    """The answer to a request that Client.infer_async has sent. Several threads may use it."""

    def __init__(self, call: Any, outcome: InferError | None = None, address: str = "") -> None:
        """`call`: grpc's, to this address. `outcome`: there is one already, because nothing was sent."""
        self._call = call
        self._address = address
        self._outcome = outcome

    def done(self) -> bool:
        """Whether result() returns without waiting."""
        return self._outcome is not None or bool(self._call.done())

    def cancel(self) -> bool:
        """Asks the server to drop the request. What a worker has been given already is finished, without an answer.

        Returns:
            Whether the request was cancelled: False when its answer is already there. result() of a request that was
            cancelled gives {"error": "Grpc Error, (1, 'cancelled'), …"}.
        """
        return self._outcome is None and bool(self._call.cancel())

    def cancelled(self) -> bool:
        """Whether the request was cancelled by cancel()."""
        return self._outcome is None and bool(self._call.cancelled())

    @overload
    def result(self, timeout: float | None = None, *, raise_errors: Literal[False] = False) -> Answer: ...
    @overload
    def result(self, timeout: float | None = None, *, raise_errors: Literal[True]) -> list[dict[str, Any]]: ...
    @overload
    def result(self, timeout: float | None = None, *, raise_errors: bool) -> Answer: ...
    def result(self, timeout: float | None = None, *, raise_errors: bool = False) -> Answer:
        """Waits for the answer.

        Args:
            timeout: seconds to wait. None: as long as it takes.
            raise_errors: as for Client.infer().

        Returns:
            What Client.infer returns.

        Raises:
            TimeoutError: the answer has not come in time. The request goes on, and result() may be called again.
            InferError: with `raise_errors`, the request or some of its instances failed.
            RuntimeError: `timeout` is not a number >= 0, or `raise_errors` is no bool.
        """
        check.flag("raise_errors", raise_errors)
        seconds = None if timeout is None else check.seconds("timeout", timeout)
        if self._outcome is not None:
            return settled(self._outcome, raise_errors)

        import grpc

        from servoir.client import codec

        try:
            reply = self._call.result(timeout=seconds)
        except grpc.FutureTimeoutError:
            raise TimeoutError(f"the answer has not come within {timeout} seconds; the request goes on") from None
        except (grpc.RpcError, grpc.FutureCancelledError):
            error = failure(self._call, self._address)
        else:
            return settled(codec.read_outcome(reply), raise_errors)
        return settled(error, raise_errors)
