"""A ledger of what became of requests, and clients that fill it: grpcio, requests, and plain sockets.

Each client asks the method `add` of the servable `s`, which answers x + 1, in a thread of its own and without a pause,
until the ledger is closed. Every request ends as one entry:

right    the answer, and it is x + 1
refused  told so: UNAVAILABLE, 503 with Retry-After, or nobody listens
lost     no answer, and no word of the server's: the connection ended within the exchange
reset    the same, by a reset
wrong    any other answer
"""

from __future__ import annotations

import collections
import itertools
import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
import requests

from support.foreign_client import ForeignClient

PATH = "/model/s:add"


class Ledger:
    """Any thread may write to it."""

    def __init__(self) -> None:
        self.closed = threading.Event()
        self.counts: collections.Counter[str] = collections.Counter()
        self.remarks: list[str] = []  # on what should not be
        self._lock = threading.Lock()

    def enter(self, what: str, remark: object = "") -> None:
        with self._lock:
            self.counts[what] += 1
            if what in ("lost", "reset", "wrong"):
                self.remarks.append(f"{what}: {remark}")

    def bad(self) -> list[str]:
        """At most ten of the remarks."""
        return self.remarks[:10]


Client = Callable[[Ledger, str, Iterator[int]], None]


@contextmanager
def under_load(ledger: Ledger, clients: Sequence[tuple[Client, str]]) -> Iterator[None]:
    """Runs the clients on these addresses. At the end of the block the ledger is closed, and the clients come back."""
    numbers = itertools.count()
    threads = [threading.Thread(target=client, args=(ledger, address, numbers)) for client, address in clients]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ledger.closed.set()
        for thread in threads:
            thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "a client did not come back"


# ---- gRPC


def grpc_client(stubs: Any) -> Client:
    """grpcio, with one connection at a time."""

    def run(ledger: Ledger, address: str, numbers: Iterator[int]) -> None:
        with ForeignClient(stubs, address) as client:
            while not ledger.closed.is_set():
                number = next(numbers)
                try:
                    reply = client.reply("s", "add", [{"x": number}], timeout=50)
                    (answer,) = client.outputs(reply, 1)
                    ledger.enter("right" if answer.get("y") == number + 1 else "wrong", answer)
                except grpc.RpcError as error:
                    enter_rpc_error(ledger, error)
                    ledger.closed.wait(0.01)  # a server that refuses is not asked for all that the processor can do

    return run


# Of ours, and of who finds no listener.
_REFUSED = ("the server is", "Connection refused", "No such file or directory")


def enter_rpc_error(ledger: Ledger, error: Any) -> None:
    said = f"{error.code()}: {error.details()}"
    if "reset" in said.lower():
        ledger.enter("reset", said)
    elif error.code() is grpc.StatusCode.UNAVAILABLE and any(words in said for words in _REFUSED):
        ledger.enter("refused")
    else:
        ledger.enter("lost", said)


# ---- REST


def keep_alive_client(ledger: Ledger, address: str, numbers: Iterator[int], authority: str | None = None) -> None:
    """requests, which uses its connection again as long as the server lets it. `authority`: the path of a certificate,
    with which it speaks TLS."""
    scheme = "http" if authority is None else "https"
    with requests.Session() as session:
        while not ledger.closed.is_set():
            number = next(numbers)
            try:
                answer = session.post(f"{scheme}://{address}{PATH}", data=_body(number), timeout=50, verify=authority)
            except requests.RequestException as error:
                _enter_failure(ledger, error)
            else:
                _enter_answer(ledger, number, answer.status_code, dict(answer.headers), answer.text)


def new_connection_client(ledger: Ledger, address: str, numbers: Iterator[int]) -> None:
    """A connection for each request."""
    while not ledger.closed.is_set():
        number = next(numbers)
        try:
            with _connect(address) as connection:
                connection.sendall(_request(number))
                _enter_next(ledger, number, connection.makefile("rb"))
        except OSError as error:
            _enter_failure(ledger, error)


def pipelining_client(ledger: Ledger, address: str, numbers: Iterator[int], ahead: int = 5) -> None:
    """Several requests at once; the next ones when all are answered."""
    while not ledger.closed.is_set():
        sent: collections.deque[int] = collections.deque()
        try:
            with _connect(address) as connection:
                answers = connection.makefile("rb")
                goes_on = True
                while goes_on and not ledger.closed.is_set():
                    sent.extend(itertools.islice(numbers, ahead))
                    connection.sendall(b"".join(map(_request, sent)))
                    while sent:
                        goes_on = _enter_next(ledger, sent[0], answers)
                        sent.popleft()
                        if not goes_on:
                            break
                    for number in sent:  # the server has said that it answers no more
                        ledger.enter("lost", f"request {number}, sent ahead of the last answer")
        except OSError as error:
            for _ in sent or [None]:
                _enter_failure(ledger, error)


def _connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=50)


def _body(number: int) -> bytes:
    return json.dumps({"instances": [{"x": number}]}).encode()


def _request(number: int) -> bytes:
    body = _body(number)
    return b"POST %s HTTP/1.1\r\nHost: s\r\nContent-Length: %d\r\n\r\n%s" % (PATH.encode(), len(body), body)


def _enter_next(ledger: Ledger, number: int, stream: Any) -> bool:
    """Reads one answer; returns whether the server will answer another request on this connection."""
    status_line = stream.readline()
    if not status_line:
        raise ConnectionError("the connection was ended before the answer")
    headers = {}
    while (line := stream.readline().strip()) != b"":
        name, _, value = line.decode().partition(":")
        headers[name.title()] = value.strip()
    length = int(headers["Content-Length"])
    body = stream.read(length)
    if len(body) < length:
        raise ConnectionError("the connection was ended within the answer")
    _enter_answer(ledger, number, int(status_line.split()[1]), headers, body.decode())
    return headers.get("Connection") != "close"


def _enter_answer(ledger: Ledger, number: int, status: int, headers: dict[str, str], text: str) -> None:
    if status == 503 and "Retry-After" in headers:
        ledger.enter("refused")
        ledger.closed.wait(0.01)
    elif status == 200 and json.loads(text) == {"instances": [{"y": number + 1}]}:
        ledger.enter("right")
    else:
        ledger.enter("wrong", f"{status} {text}")


def _enter_failure(ledger: Ledger, error: Exception) -> None:
    if "refused" in str(error):
        ledger.enter("refused")
        ledger.closed.wait(0.01)
    else:
        ledger.enter("reset" if "reset" in str(error).lower() else "lost", error)
