"""The form of addresses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from servoir.server.address import check_address


@pytest.mark.parametrize("address", ["127.0.0.1:5500", "localhost:1", "0.0.0.0:65535", "[::1]:80"])
def test_good(address: str) -> None:
    assert check_address(address, unix_allowed=True) == address
    assert check_address(address, unix_allowed=False) == address


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("", "not empty"),
        (None, "a str"),
        (5500, "a str"),
        ("127.0.0.1", "host:port"),
        ("invalid address", "host:port"),
        (":5500", "no host"),
        ("host:", "no port"),
        ("host:http", "not a number"),
        ("host:1.5", "not a number"),
        ("host:²", "not a number"),
        ("host:0", "1…65535"),
        ("host:-1", "1…65535"),
        ("host:65536", "1…65535"),
        ("1:2:3:4", "cannot be listened on"),
        ("host\udc80:80", "characters that no address can have"),
        ("unix:", "empty path"),
        ("unix:/nowhere/at/all/socket", "'/nowhere/at/all' .* does not exist"),
    ],
)
def test_bad(address: Any, text: str) -> None:
    with pytest.raises(RuntimeError, match=f"'address'.*{text}" if text != "not empty" else text):
        check_address(address, unix_allowed=True)


def test_unix_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for address in (f"unix:{tmp_path}/socket", "unix:socket"):
        assert check_address(address, unix_allowed=True) == address
        with pytest.raises(RuntimeError, match=re.escape(f"'{address}': the RESTful server")):
            check_address(address, unix_allowed=False)
