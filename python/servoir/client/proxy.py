"""Whether grpc connects through an HTTP proxy that the environment names.

grpc takes such a proxy for every host, its own machine included; nobody who gives a loopback address means that.
"""

from __future__ import annotations

import os

_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")  # the first that is set counts
_EXCEPTIONS = ("no_grpc_proxy", "no_proxy")


def is_local(address: str) -> bool:
    """Whether a client's address is on this machine without doubt."""
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    import ipaddress  # only here: it is seldom needed, and takes its time

    host = _host(address)
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def proxy_note(address: str) -> str:
    """What to add to the text of a connection's error; empty where no proxy is used."""
    if is_local(address):
        return ""
    host = _host(address)
    exceptions = next((os.environ[name] for name in _EXCEPTIONS if os.environ.get(name)), "")
    if any(host.endswith(entry.strip()) for entry in exceptions.split(",") if entry.strip()):
        return ""
    for name in _VARIABLES:
        if proxy := os.environ.get(name):
            return (
                f"; the connection to {address} goes through the proxy {_without_password(proxy)}, which the"
                f" environment variable {name} names; no_proxy={host} takes this host out of that"
            )
    return ""


def _host(address: str) -> str:
    """Of "host:port", "[::1]:port" and of the names that grpc itself knows, such as "dns:///host:port"."""
    rest = address
    for scheme in ("dns:", "ipv4:", "ipv6:", "passthrough:"):
        rest = rest.removeprefix(scheme)
    if rest.startswith("//"):  # the name server to ask
        rest = rest[2:].partition("/")[2]
    if rest.startswith("["):
        return rest[1:].partition("]")[0]
    return rest.rpartition(":")[0] if rest.count(":") == 1 else rest


def _without_password(proxy: str) -> str:
    scheme, slashes, rest = proxy.rpartition("//")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}"
