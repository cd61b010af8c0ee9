"""Clients of other languages and of the command line, each with its own ways on the wire."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from urllib.request import urlopen

import grpc
import numpy as np
import pytest
from servoir.client import codec
from support.http2_client import connect
from support.rest_client import GOOD, TARGET
from support.servers import ServerProcess, Start

CLIENTS = Path(__file__).resolve().parent / "clients"
ANSWER = '{"instances":[{"y":1}]}'


@pytest.fixture(scope="module")
def server(start_for_module: Start) -> ServerProcess:
    return start_for_module("values", device_ids=0)


def output_of(command: Sequence[str], body: bytes = b"") -> str:
    """What the command prints; the test is skipped where there is no such command."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, input=body, capture_output=True, timeout=120, check=False)
    if b"does not support" in done.stderr or b"doesn't support" in done.stderr:
        pytest.skip(done.stderr.decode())
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--http1.0"],
        ["--http2"],  # asks for an upgrade, which may be passed over
        ["-H", "Transfer-Encoding: chunked"],
        ["-H", "Expect: 100-continue"],
        ["-H", "Connection: close"],
        ["-H", "Content-Encoding: identity"],
        ["--compressed"],
        ["--proxy", "PROXY"],  # sends a whole URL as the target
    ],
    ids=" ".join,
)
def test_curl(server: ServerProcess, options: list[str]) -> None:
    options = [f"http://{server.rest}" if option == "PROXY" else option for option in options]
    url = f"http://{server.rest}{TARGET}"
    assert output_of(["curl", "-sS", "--noproxy", "", *options, "--data-binary", "@-", url], GOOD.encode()) == ANSWER


def test_curl_takes_figures_through_what_it_takes_for_a_proxy(server: ServerProcess) -> None:
    with urlopen(f"http://{server.rest}/metrics", timeout=30) as answer:
        name = answer.readline().decode().split()[2]
    url = f"http://{server.rest}/metrics"
    assert name in output_of(["curl", "-sS", "--noproxy", "", "--proxy", f"http://{server.rest}", url])


def test_curl_sends_what_is_compressed(server: ServerProcess) -> None:
    url = f"http://{server.rest}{TARGET}"
    out = output_of(["curl", "-sSi", "-H", "Content-Encoding: gzip", "--data-binary", "@-", url], b"\x1f\x8b")
    head, _, body = out.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 415 ")
    assert "\r\nAccept-Encoding: identity" in head
    assert "the content-encoding is 'gzip'; send the body as it is" in json.loads(body)["error_msg"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/model/values%3Auntouched", GOOD.encode()),  # encodeURIComponent("values:untouched")
        (TARGET, b"\xef\xbb\xbf" + GOOD.encode()),  # a file that PowerShell has written
        (TARGET, b"\r\n" + GOOD.encode() + b"\r\n"),
    ],
    ids=["an encoded colon", "a byte order mark", "lines around it"],
)
def test_what_programs_write(server: ServerProcess, path: str, body: bytes) -> None:
    with closing(connect(server.rest)) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        connection.shutdown(socket.SHUT_WR)
        data = b""
        while piece := connection.recv(65536):
            data += piece
    assert data.endswith(ANSWER.encode()), data


def test_node(server: ServerProcess, tmp_path: Path) -> None:
    """http, http2 and fetch of Node itself."""
    request = codec.write_request("values", "untouched", 0, {"x": np.float32([1, 2])})
    (tmp_path / "request").write_bytes(b"\0" + len(request).to_bytes(4, "big") + request)
    out = output_of(["node", str(CLIENTS / "node.js"), server.rest, server.grpc, str(tmp_path / "request")])
    assert out.splitlines()[-1] == "all is well", out


def test_java(server: ServerProcess) -> None:
    """java.net.http, which asks for an upgrade to HTTP/2 unless it is told not to, and HttpURLConnection."""
    if shutil.which("javac") is None:
        pytest.skip("no Java compiler is installed")
    out = output_of(
        ["java", "-XX:TieredStopAtLevel=1", str(CLIENTS / "Rest.java"), f"http://{server.rest}{TARGET}", GOOD]
    )
    assert out.splitlines() == [ANSWER] * 7


@pytest.mark.parametrize("streams", ["1", "50"])
def test_h2load(server: ServerProcess, tmp_path: Path, streams: str) -> None:
    request = codec.write_request("values", "untouched", 0, {"x": np.float32([1, 2])})
    (tmp_path / "request").write_bytes(b"\0" + len(request).to_bytes(4, "big") + request)
    grpc = ["-H", "content-type: application/grpc", "-H", "te: trailers", "-d", str(tmp_path / "request")]
    url = f"http://{server.grpc}/mindspore.serving.proto.MSService/Predict"
    out = output_of(["h2load", "-n500", "-c2", f"-m{streams}", *grpc, url])
    assert "500 succeeded, 0 failed, 0 errored, 0 timeout" in out


NOT_HTTP2 = "this port speaks REST over HTTP/1.1, and the client speaks HTTP/2: use HTTP/1.1 here"


@pytest.mark.parametrize(
    "command",
    [
        ["curl", "-sS", "--noproxy", "", "--http2-prior-knowledge", "URL"],
        ["curl", "-sS", "--noproxy", "", "--http2-prior-knowledge", "--data-binary", "@-", "URL"],
        ["nghttp", "URL"],
        ["nghttp", "-m", "30", "URL"],
    ],
    ids=" ".join,
)
def test_http2_on_the_port_of_rest(server: ServerProcess, command: list[str]) -> None:
    url = f"http://{server.rest}{TARGET}"
    shown = output_of([url if word == "URL" else word for word in command], b"x" * 300_000)
    assert shown.startswith('{"error_msg":"' + NOT_HTTP2), shown


def test_grpc_on_the_port_of_rest(server: ServerProcess) -> None:
    with grpc.insecure_channel(server.rest) as channel:
        call = channel.unary_unary("/ms_serving.MSService/Predict")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert NOT_HTTP2 in caught.value.details()
    assert "gRPC has a port of its own" in caught.value.details()


def test_http2_in_pieces_on_the_port_of_rest(server: ServerProcess) -> None:
    host, _, port = server.rest.rpartition(":")
    request = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        for at in range(len(request)):
            connection.sendall(request[at : at + 1])
        assert connection.recv(9)[3] == 4, "the server's SETTINGS"
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):  # the server ends the connection as well
            pass
