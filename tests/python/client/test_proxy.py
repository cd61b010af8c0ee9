"""Proxies that the environment names: when they are used, and what is said then."""

from __future__ import annotations

import pytest
from servoir.client import Client
from servoir.client.proxy import is_local, proxy_note
from support.processes import free_port

VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1:5500", True),
        ("127.9.8.7:5500", True),
        ("localhost:5500", True),
        ("[::1]:5500", True),
        ("unix:sockets/add", True),
        ("unix:///sockets/add", True),
        ("dns:///localhost:5500", True),
        ("ipv4:127.0.0.1:5500", True),
        ("ipv6:[::1]:5500", True),
        ("10.0.0.1:5500", False),
        ("localhost.example.org:5500", False),
        ("dns://8.8.8.8/example.org:5500", False),
        ("[2001:db8::1]:5500", False),
        ("nonsense", False),
    ],
)
def test_what_is_on_this_machine(address: str, local: bool) -> None:
    assert is_local(address) is local


def test_the_note_names_the_proxy_and_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxy_note("example.org:5500") == ""
    monkeypatch.setenv("http_proxy", "http://me:secret@proxy:3128")
    note = proxy_note("example.org:5500")
    assert "the proxy http://proxy:3128, which the environment variable http_proxy names" in note
    assert "no_proxy=example.org" in note
    monkeypatch.setenv("grpc_proxy", "http://other:1")
    assert "http://other:1, which the environment variable grpc_proxy names" in proxy_note("example.org:5500")
    assert proxy_note("localhost:5500") == ""
    monkeypatch.setenv("no_proxy", "intern, example.org")
    assert proxy_note("www.example.org:5500") == ""
    assert proxy_note("example.com:5500")


def test_loopback_is_reached_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    port = free_port()
    with Client(f"127.0.0.1:{port}", "s", "m") as client:
        answer = client.infer({"x": 1}, timeout=10)
    assert isinstance(answer, dict)
    assert f"127.0.0.1:{port}" in answer["error"]
    assert "127.0.0.1:9:" not in answer["error"]
    with Client("192.0.2.1:5500", "s", "m") as client:
        answer = client.infer({"x": 1}, timeout=10)
    assert isinstance(answer, dict)
    assert "goes through the proxy http://127.0.0.1:9" in answer["error"]
