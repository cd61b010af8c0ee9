"""Addresses of listeners: "host:port" or "unix:path"."""

from __future__ import annotations

import os

from servoir import check

UNIX_PREFIX = "unix:"


def check_address(address: object, *, unix_allowed: bool) -> str:
    """The address, if its form is right; whether it can be bound is for the listener to say."""
    text = check.text("address", address)
    if text.startswith(UNIX_PREFIX):
        if not unix_allowed:
            raise RuntimeError(f"Parameter 'address': '{text}': the RESTful server does not listen on unix sockets")
        return _check_unix(text)
    host, colon, port = text.rpartition(":")
    if not colon:
        raise RuntimeError(f"Parameter 'address' should be of the form host:port or unix:path, but is '{text}'")
    if not host:
        raise RuntimeError(f"Parameter 'address': '{text}' has no host before the colon")
    if not port:
        raise RuntimeError(f"Parameter 'address': '{text}' has no port after the colon")
    if not port.isascii() or not port.lstrip("-").isdigit():
        raise RuntimeError(f"Parameter 'address': the port of '{text}' is not a number")
    if not 1 <= int(port) <= 65535:
        raise RuntimeError(f"Parameter 'address': the port of '{text}' should be in 1…65535")
    return text


def _check_unix(text: str) -> str:
    path = text[len(UNIX_PREFIX) :]
    if not path:
        raise RuntimeError(f"Parameter 'address': '{text}' has an empty path")
    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory):
        raise RuntimeError(f"Parameter 'address': the directory '{directory}' of '{text}' does not exist")
    return text
