"""What the servers listen on: addresses, ports in use, Unix sockets."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
from servoir import server
from support.processes import free_port
from support.servers import connects

START = {"grpc": server.start_grpc_server, "rest": server.start_restful_server}


both = pytest.mark.parametrize("kind", list(START))


@both
def test_host_and_port(here: Path, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    address = f"127.0.0.1:{free_port()}"
    START[kind](address)
    assert connects(address)
    assert f"start success, listening on {address}" in capfd.readouterr().out
    server.stop()
    assert not connects(address)


@both
@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("", ["'address'", "a str that is not empty"]),
        (None, ["'address'", "a str", "NoneType"]),
        (5500, ["'address'", "a str", "int"]),
        (b"127.0.0.1:5500", ["'address'", "a str", "bytes"]),
        ("127.0.0.1", ["'address'", "host:port", "127.0.0.1"]),
        ("invalid address", ["'address'", "host:port", "invalid address"]),
        (":5500", ["'address'", "no host"]),
        ("host:", ["'address'", "no port"]),
        ("127.0.0.1:http", ["'address'", "not a number"]),
        ("127.0.0.1:1.5", ["'address'", "not a number"]),
        ("127.0.0.1:0", ["'address'", "1…65535"]),
        ("127.0.0.1:-1", ["'address'", "1…65535"]),
        ("127.0.0.1:65536", ["'address'", "1…65535"]),
        ("unix:", ["'address'"]),
        ("127.0.0.0.1:5000", ["cannot listen", "127.0.0.0.1"]),
        ("127.0.256.1:5000", ["cannot listen", "127.0.256.1"]),
        ("127.0.0.1:5000:5000", ["127.0.0.1:5000", "cannot be listened on"]),
    ],
)
def test_bad_addresses(here: Path, kind: str, address: Any, words: list[str]) -> None:
    with pytest.raises(RuntimeError) as error:
        START[kind](address)
    for word in words:
        assert word in str(error.value)


@both
def test_a_port_in_use(here: Path, kind: str) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(RuntimeError, match=f"'{address}'.*in use.*choose another port"):
            START[kind](address)


@pytest.mark.parametrize("first", list(START))
def test_a_port_in_use_by_the_own_other_server(here: Path, first: str) -> None:
    second = "rest" if first == "grpc" else "grpc"
    address = f"127.0.0.1:{free_port()}"
    START[first](address)
    with pytest.raises(RuntimeError, match=f"'{address}'.*in use"):
        START[second](address)
    assert not connects(address), "a start function that fails stops everything"


@pytest.mark.parametrize("form", ["absolute", "relative"])
def test_grpc_on_a_unix_socket(here: Path, form: str, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "sockets").mkdir()
    path = here / "sockets" / "grpc"
    path.write_text("an existing file is replaced")
    address = f"unix:{path}" if form == "absolute" else "unix:sockets/grpc"
    server.start_grpc_server(address)
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert connects(f"unix:{path}")
    assert f"start success, listening on {address}" in capfd.readouterr().out
    server.stop()
    assert not path.exists()


def test_the_directory_of_a_unix_socket_must_exist(here: Path) -> None:
    with pytest.raises(RuntimeError, match="'address': the directory 'nowhere' of 'unix:nowhere/grpc' does not exist"):
        server.start_grpc_server("unix:nowhere/grpc")


def test_a_directory_is_not_replaced(here: Path) -> None:
    (here / "grpc").mkdir()
    with pytest.raises(RuntimeError, match="cannot listen on 'unix:grpc': there is a directory of this name"):
        server.start_grpc_server("unix:grpc")


def test_rest_has_no_unix_sockets(here: Path) -> None:
    with pytest.raises(RuntimeError, match="'address': 'unix:rest': the RESTful server does not listen on unix"):
        server.start_restful_server("unix:rest")
    assert not os.path.exists("rest")
