"""TLS, one-way and mutual, on gRPC and REST; the start says which file does not fit."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import requests
from servoir import server as servoir_server
from servoir.client import Client, SSLConfig
from support import certificates
from support.processes import free_port, wait_until
from support.servers import ServerProcess, Start

X = np.arange(6, dtype=np.float32).reshape(2, 3)
BODY = {"instances": [{"a": [1, 2], "b": 3}]}


class Pki:
    """Who trusts whom in these tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        authority = certificates.Authority(folder, "authority")
        self.ca = authority.certificate
        self.server = authority.sign("server")
        self.client = authority.sign("client")
        self.locked = authority.sign("locked", password=b"secret")
        stranger = certificates.Authority(folder, "stranger")
        self.other_ca = stranger.certificate
        self.other_client = stranger.sign("other_client")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


def tls_option(pki: Pki, **more: Any) -> tuple[str, str]:
    return "--tls", json.dumps({"certificate": pki.server.certificate, "private_key": pki.server.key, **more})


@pytest.fixture(scope="module")
def one_way(start_for_module: Start, pki: Pki) -> Iterator[ServerProcess]:
    server = start_for_module("plain", device_ids=0, options=(*tls_option(pki), "--max-mb", "200"))
    yield server
    assert server.running(), "the server ended during these tests"


@pytest.fixture(scope="module")
def mutual(start_for_module: Start, pki: Pki) -> Iterator[ServerProcess]:
    server = start_for_module("plain", device_ids=0, options=tls_option(pki, verify_client=True, custom_ca=pki.ca))
    yield server
    assert server.running(), "the server ended during these tests"


def ask(server: ServerProcess, config: SSLConfig | None) -> Any:
    with Client(server.grpc, "plain", "echo", ssl_config=config) as client:
        return client.infer([{"a": X, "b": 3}])


def assert_answered(answer: Any) -> None:
    assert isinstance(answer, list), answer
    np.testing.assert_array_equal(answer[0]["a"], X)


def url(server: ServerProcess) -> str:
    return f"https://{server.rest}/model/plain:echo"


def test_grpc_with_the_servers_certificate_only(one_way: ServerProcess, pki: Pki) -> None:
    assert_answered(ask(one_way, SSLConfig(custom_ca=pki.ca)))


def test_grpc_client_refuses_a_server_that_it_does_not_trust(one_way: ServerProcess, pki: Pki) -> None:
    answer = ask(one_way, SSLConfig(custom_ca=pki.other_ca))
    assert "(14, 'unavailable')" in answer["error"]


def test_grpc_without_tls_is_refused_and_hurts_nobody(one_way: ServerProcess, pki: Pki) -> None:
    assert "(14, 'unavailable')" in ask(one_way, None)["error"]
    assert_answered(ask(one_way, SSLConfig(custom_ca=pki.ca)))


def test_grpc_with_grpcio_and_a_client_of_ours_that_shows_a_certificate_nobody_asked_for(
    one_way: ServerProcess, pki: Pki, stubs: tuple[Any, Any]
) -> None:
    assert_answered(ask(one_way, SSLConfig(pki.client.certificate, pki.client.key, pki.ca)))
    messages, services = stubs
    credentials = grpc.ssl_channel_credentials(Path(pki.ca).read_bytes())
    with grpc.secure_channel(one_way.grpc, credentials) as channel:
        request = messages.PredictRequest()
        request.servable_spec.name, request.servable_spec.method_name = "plain", "echo"
        items = request.instances.add().items
        for name in ("a", "b"):
            items[name].dtype, items[name].data = 11, np.float32(3).tobytes()
        reply = services.MSServiceStub(channel).Predict(request, timeout=10)
    assert reply.instances[0].items["a"].data == np.float32(3).tobytes()


def test_large_messages_pass_both_ways(one_way: ServerProcess, pki: Pki) -> None:
    """Far more than a record, a flow-control window or a socket's buffer."""
    rows = np.random.default_rng(1).random((6, 1 << 20))  # 48 MiB
    with Client(one_way.grpc, "plain", "echo", ssl_config=SSLConfig(custom_ca=pki.ca)) as client:
        answer = client.infer([{"a": rows, "b": 3}])
    assert isinstance(answer, list), answer
    np.testing.assert_array_equal(answer[0]["a"], rows)


def test_many_requests_at_a_time_on_one_connection(one_way: ServerProcess, pki: Pki) -> None:
    with Client(one_way.grpc, "plain", "echo", ssl_config=SSLConfig(custom_ca=pki.ca)) as client:
        futures = [client.infer_async([{"a": np.full((n,), n, np.int64), "b": n}]) for n in range(1, 300)]
        for n, future in enumerate(futures, 1):
            answer = future.result()
            assert isinstance(answer, list), answer
            np.testing.assert_array_equal(answer[0]["a"], np.full((n,), n))


def test_rest_with_the_servers_certificate_only(one_way: ServerProcess, pki: Pki) -> None:
    with requests.Session() as session:
        for _ in range(2):  # the second on the same connection
            answer = session.post(url(one_way), json=BODY, verify=pki.ca, timeout=10)
            assert answer.status_code == 200, answer.text
            assert answer.json() == BODY


def test_rest_with_a_large_body(one_way: ServerProcess, pki: Pki) -> None:
    large = {"instances": [{"a": list(range(300_000)), "b": 3}]}
    answer = requests.post(url(one_way), json=large, verify=pki.ca, timeout=20)
    assert answer.json() == large


def test_rest_in_the_clear_is_refused_and_hurts_nobody(one_way: ServerProcess, pki: Pki) -> None:
    with pytest.raises(requests.ConnectionError):
        requests.post(url(one_way).replace("https:", "http:"), json=BODY, timeout=10)
    assert requests.post(url(one_way), json=BODY, verify=pki.ca, timeout=10).status_code == 200
    wait_until(
        lambda: any("it speaks without TLS" in line for line in one_way.lines), 5, "a line of the log that says why"
    )


def test_rest_with_curl(one_way: ServerProcess, pki: Pki) -> None:
    command = ["curl", "-sS", "--cacert", pki.ca, "-d", json.dumps(BODY), url(one_way)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert json.loads(done.stdout) == BODY, done.stderr


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_tls_versions_that_are_spoken(one_way: ServerProcess, pki: Pki, version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cafile=pki.ca)
    context.minimum_version = context.maximum_version = version
    body = json.dumps(BODY).encode()
    with handshake(one_way.rest, context) as connection:
        connection.sendall(
            b"POST /model/plain:echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        for byte in body:  # a record each
            connection.sendall(bytes([byte]))
        # Read to the end: the server says goodbye in TLS, so this end is no cut.
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 200"), answer


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_older_tls_is_refused(one_way: ServerProcess, pki: Pki) -> None:
    context = ssl.create_default_context(cafile=pki.ca)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match="protocol version"):
        handshake(one_way.rest, context)


@pytest.mark.parametrize(("port", "protocol"), [("grpc", "http/1.1"), ("rest", "h2")])
def test_a_client_that_only_speaks_another_protocol_is_told_so(
    one_way: ServerProcess, pki: Pki, port: str, protocol: str
) -> None:
    context = ssl.create_default_context(cafile=pki.ca)
    context.set_alpn_protocols([protocol])
    with pytest.raises(ssl.SSLError, match="no application protocol"):
        handshake(getattr(one_way, port), context)


@pytest.mark.parametrize(
    "bytes_sent", [b"", b"\x16\x03\x01", b"\x16\x03\x01\xff\xff" + bytes(60000), b"GET / HTTP/1.1\r\n\r\n"]
)
def test_broken_handshakes_hurt_nobody(one_way: ServerProcess, pki: Pki, bytes_sent: bytes) -> None:
    host, port = one_way.grpc.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(bytes_sent)
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while connection.recv(4096):
                pass
    assert_answered(ask(one_way, SSLConfig(custom_ca=pki.ca)))


def handshake(address: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    host, port = address.split(":")
    return context.wrap_socket(socket.create_connection((host, int(port)), timeout=10), server_hostname="localhost")


def test_mutual_grpc_with_a_certificate_of_the_authority(mutual: ServerProcess, pki: Pki) -> None:
    assert_answered(ask(mutual, SSLConfig(pki.client.certificate, pki.client.key, pki.ca)))


def test_mutual_grpc_without_or_with_a_strangers_certificate_is_refused(mutual: ServerProcess, pki: Pki) -> None:
    for config in (
        SSLConfig(custom_ca=pki.ca),
        SSLConfig(pki.other_client.certificate, pki.other_client.key, pki.ca),
    ):
        assert "(14, 'unavailable')" in ask(mutual, config)["error"]
    assert_answered(ask(mutual, SSLConfig(pki.client.certificate, pki.client.key, pki.ca)))


def test_mutual_rest(mutual: ServerProcess, pki: Pki) -> None:
    mine = (pki.client.certificate, pki.client.key)
    answer = requests.post(url(mutual), json=BODY, verify=pki.ca, cert=mine, timeout=10)
    assert answer.json() == BODY
    for wrong in (None, (pki.other_client.certificate, pki.other_client.key)):
        with pytest.raises((requests.ConnectionError, requests.exceptions.SSLError)):
            requests.post(url(mutual), json=BODY, verify=pki.ca, cert=wrong, timeout=10)


def test_tls_on_a_unix_socket(tmp_path: Path, pki: Pki) -> None:
    """In this process: only the gRPC server, without a servable, which answers all the same."""
    script = f"""
import sys
from servoir import server
from servoir.client import Client, SSLConfig
server.start_grpc_server("unix:s.sock", ssl_config=server.SSLConfig({pki.server.certificate!r}, {pki.server.key!r}))
client = Client("unix:s.sock", "nothing", "echo", ssl_config=SSLConfig(custom_ca={pki.ca!r}))
print(client.infer([{{"x": 1}}]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=20, check=False
    )
    assert "not available" in done.stdout, done.stdout + done.stderr
    assert "Grpc Error" not in done.stdout, done.stdout + done.stderr


# ---- what is wrong with the files is said by the start functions

STARTS = [servoir_server.start_grpc_server, servoir_server.start_restful_server]


@pytest.fixture(params=STARTS, ids=["grpc", "rest"])
def start_function(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.chdir(tmp_path)
    address = f"127.0.0.1:{free_port()}"
    yield lambda **tls: request.param(address, ssl_config=servoir_server.SSLConfig(**tls))
    servoir_server.stop()


def test_a_certificate_given_as_the_key(start_function: Any, pki: Pki) -> None:
    with pytest.raises(RuntimeError, match=r"private key '.*server\.crt' is not a private key in PEM"):
        start_function(certificate=pki.server.certificate, private_key=pki.server.certificate)


def test_the_key_of_somebody_else(start_function: Any, pki: Pki) -> None:
    with pytest.raises(
        RuntimeError, match=r"private key '.*client\.key' does not belong to certificate '.*server\.crt'"
    ):
        start_function(certificate=pki.server.certificate, private_key=pki.client.key)


def test_a_key_given_as_the_certificate(start_function: Any, pki: Pki) -> None:
    with pytest.raises(RuntimeError, match=r"certificate '.*server\.key' has no certificate"):
        start_function(certificate=pki.server.key, private_key=pki.server.key)


def test_a_key_with_a_password(start_function: Any, pki: Pki) -> None:
    with pytest.raises(RuntimeError, match="protected by a password"):
        start_function(certificate=pki.locked.certificate, private_key=pki.locked.key)


def test_an_authority_that_is_none(start_function: Any, pki: Pki) -> None:
    with pytest.raises(RuntimeError, match=r"custom_ca '.*client\.key' has no certificate"):
        start_function(
            certificate=pki.server.certificate, private_key=pki.server.key, verify_client=True, custom_ca=pki.client.key
        )


def test_a_damaged_certificate(start_function: Any, pki: Pki, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.crt"
    damaged.write_text(Path(pki.server.certificate).read_text().replace("M", "!"))
    with pytest.raises(RuntimeError, match=r"certificate '.*damaged\.crt' cannot be read as PEM"):
        start_function(certificate=str(damaged), private_key=pki.server.key)


@pytest.mark.parametrize("parameter", ["certificate", "private_key", "custom_ca"])
@pytest.mark.parametrize("kind", [FileNotFoundError, RuntimeError])
def test_a_missing_file(start_function: Any, pki: Pki, parameter: str, kind: type[Exception]) -> None:
    files = {"certificate": pki.server.certificate, "private_key": pki.server.key, "custom_ca": pki.ca}
    files[parameter] = "not/there.pem"
    with pytest.raises(kind, match=rf"'{parameter}' of SSLConfig: there is no such file .*not/there\.pem"):
        start_function(**files, verify_client=True)


def test_a_folder_instead_of_a_file(start_function: Any, pki: Pki, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"'private_key' of SSLConfig: the file '.*' cannot be read: Is a directory"):
        start_function(certificate=pki.server.certificate, private_key=str(tmp_path))


def test_after_a_failed_start_the_same_port_can_be_opened(
    pki: Pki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(RuntimeError):
        servoir_server.start_grpc_server(
            address, ssl_config=servoir_server.SSLConfig(pki.server.certificate, pki.client.key)
        )
    try:
        servoir_server.start_grpc_server(
            address, ssl_config=servoir_server.SSLConfig(pki.server.certificate, pki.server.key)
        )
    finally:
        servoir_server.stop()


# ---- the constructors


@pytest.mark.parametrize("value", [None, "", 1, b"x.pem"], ids=repr)
@pytest.mark.parametrize("parameter", ["certificate", "private_key"])
def test_server_config_takes_non_empty_paths_only(parameter: str, value: Any) -> None:
    files = {"certificate": "a", "private_key": "b", parameter: value}
    with pytest.raises(RuntimeError, match=f"'{parameter}'"):
        servoir_server.SSLConfig(**files)


@pytest.mark.parametrize("value", [None, 0, 1, "yes"], ids=repr)
def test_verify_client_is_a_bool(value: Any) -> None:
    with pytest.raises(RuntimeError, match="'verify_client'"):
        servoir_server.SSLConfig("a", "b", verify_client=value)


@pytest.mark.parametrize("value", [None, "", 1], ids=repr)
def test_custom_ca_is_needed_with_verify_client_and_ignored_without(value: Any) -> None:
    with pytest.raises(RuntimeError, match="'custom_ca'"):
        servoir_server.SSLConfig("a", "b", custom_ca=value, verify_client=True)
    assert servoir_server.SSLConfig("a", "b", custom_ca=value).custom_ca is None


@pytest.mark.parametrize("start_it", STARTS, ids=["grpc", "rest"])
@pytest.mark.parametrize("value", ["x", {}, SSLConfig()], ids=["str", "dict", "the client's"])
def test_ssl_config_of_another_type(start_it: Any, value: Any) -> None:
    with pytest.raises(RuntimeError, match=r"'ssl_config'.*servoir\.server\.SSLConfig"):
        start_it("127.0.0.1:1", ssl_config=value)


@pytest.mark.parametrize("value", ["", 1, b"x"], ids=repr)
@pytest.mark.parametrize("parameter", ["certificate", "private_key", "custom_ca"])
def test_client_config_takes_paths_or_none(parameter: str, value: Any) -> None:
    with pytest.raises(RuntimeError, match=f"'{parameter}'"):
        SSLConfig(**{parameter: value})


@pytest.mark.parametrize(
    "config", [SSLConfig(certificate="a"), SSLConfig(private_key="a")], ids=["no key", "no certificate"]
)
def test_client_needs_certificate_and_key_or_neither(config: SSLConfig) -> None:
    with pytest.raises(RuntimeError, match="belong together"):
        Client("127.0.0.1:1", "plain", "echo", ssl_config=config)


def test_client_ssl_config_of_another_type() -> None:
    with pytest.raises(RuntimeError, match=r"'ssl_config'.*servoir\.client\.SSLConfig"):
        Client("127.0.0.1:1", "plain", "echo", ssl_config=servoir_server.SSLConfig("a", "b"))  # type: ignore[arg-type]
