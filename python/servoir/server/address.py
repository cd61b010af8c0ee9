"""Addresses of listeners, as the start functions take them. Their grammar is the core's."""

from __future__ import annotations

from servoir import check


def check_address(address: object, *, unix_allowed: bool) -> str:
    """The address, if its form is right; whether it can be bound is for the listener to say."""
    from servoir import _core

    text = check.text("address", address)
    try:
        text.encode()
        kind = _core.check_address(text)
    except UnicodeEncodeError:
        raise RuntimeError(f"Parameter 'address': {text!r} has characters that no address can have") from None
    except RuntimeError as error:
        raise RuntimeError(f"Parameter 'address': {error}") from None
    if kind == "unix" and not unix_allowed:
        raise RuntimeError(f"Parameter 'address': '{text}': the RESTful server does not listen on unix sockets")
    return text
