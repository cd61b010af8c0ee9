"""The end of a server that is being asked: what has come is answered, the rest is told, and no connection is reset."""

from __future__ import annotations

import functools
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from support.certificates import Authority
from support.foreign_client import ForeignClient, whole_error
from support.ledger import (
    Client,
    Ledger,
    enter_rpc_error,
    grpc_client,
    keep_alive_client,
    new_connection_client,
    pipelining_client,
    under_load,
)
from support.processes import processes_with, wait_until
from support.scripts import RunScript, ServerScript

SERVE = """
    server.start_servables(config(num_parallel_workers=2))
    server.start_grpc_server(GRPC)
    server.start_restful_server(REST)

    def wait_and_stop():
        await_file("stop")
        server.stop()

    threading.Thread(target=wait_and_stop, daemon=True).start()
"""
# `add` is as fast as a small model, `slow` takes 5 ms for each instance, `never` has no end.
ADDS = """
import time
from servoir.server import register

def plus_one(x):
    time.sleep(0.002)
    return x + 1

def plus_one_slowly(x):
    time.sleep(0.005)
    return x + 1

def wait(x):
    open("waits", "w").close()
    time.sleep(600)
    return x

@register.register_method(output_names=["y"])
def add(x):
    return register.add_stage(plus_one, x, outputs_count=1)

@register.register_method(output_names=["y"])
def slow(x):
    return register.add_stage(plus_one_slowly, x, outputs_count=1)

@register.register_method(output_names=["y"])
def never(x):
    return register.add_stage(wait, x, outputs_count=1)
"""
BODY = '{"instances": [{"x": 1}]}'


def serving(run: RunScript, code: str = SERVE, **env: str) -> ServerScript:
    script = run(code, servables={"s": ADDS}, env=env)
    script.ready()
    return script


def end(script: ServerScript, way: str) -> None:
    if way == "SIGTERM":
        script.process.send_signal(signal.SIGTERM)
    elif way == "SIGTERM to the group":
        os.killpg(script.pid, signal.SIGTERM)
    else:
        (script.work / "stop").touch()


@pytest.mark.parametrize("way", ["SIGTERM", "SIGTERM to the group", "stop()"])
def test_what_is_in_flight_is_answered(run: RunScript, stubs: Any, way: str) -> None:
    """All of 600 requests that wait in the server. The workers got the signal as well when it went to the group."""
    script = serving(run)
    ledger = Ledger()
    with ForeignClient(stubs, script.grpc) as client:
        calls = [
            client.stub.Predict.future(client.request("s", "slow", [{"x": number}]), timeout=60)
            for number in range(600)
        ]
        wait_until(lambda: any(call.done() for call in calls), 20, "the first answer")
        end(script, way)
        for number, call in enumerate(calls):
            error = call.exception()
            if error is not None:
                enter_rpc_error(ledger, error)
            else:
                (answer,) = client.outputs(call.result(), 1)
                ledger.enter("right" if answer["y"] == number + 1 else "wrong", answer)
    status, lines = script.end(30)
    print(f"\n{way}: {dict(ledger.counts)}")
    assert ledger.counts == {"right": 600}, ledger.bad()
    assert status == 0, lines
    assert processes_with(script.mark) == []


@pytest.mark.parametrize("way", ["SIGTERM", "SIGTERM to the group", "stop()"])
@pytest.mark.parametrize("kind", ["grpc", "keep-alive", "new connections", "pipelining"])
def test_nothing_is_lost_under_load(run: RunScript, stubs: Any, kind: str, way: str) -> None:
    clients: dict[str, Client] = {
        "grpc": grpc_client(stubs),
        "keep-alive": keep_alive_client,
        "new connections": new_connection_client,
        "pipelining": pipelining_client,
    }
    script = serving(run)
    ledger = Ledger()
    with under_load(ledger, [(clients[kind], script.grpc if kind == "grpc" else script.rest)] * 24):
        wait_until(lambda: ledger.counts["right"] > 500, 30, "answers")
        sent = time.monotonic()
        end(script, way)
        status, lines = script.end(45)
        took = time.monotonic() - sent
        refused = ledger.counts["refused"]
        wait_until(lambda: ledger.counts["refused"] > refused, 10, "a client that finds nobody")
    print(f"\n{kind}, {way}: {dict(ledger.counts)}, the server ended within {took:.2f} s")
    assert ledger.bad() == []
    assert status == 0, lines


def test_over_a_unix_socket(run: RunScript, stubs: Any) -> None:
    script = serving(run, SERVE.replace("GRPC", "'unix:socket'"))
    ledger = Ledger()
    address = f"unix:{script.work / 'socket'}"
    with under_load(ledger, [(grpc_client(stubs), address)] * 12):
        wait_until(lambda: ledger.counts["right"] > 300, 30, "answers")
        end(script, "SIGTERM")
        assert script.end(45)[0] == 0
    assert ledger.bad() == []
    assert not (script.work / "socket").exists()


def test_over_tls(run: RunScript, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    identity = authority.sign("server")
    tls = f"ssl_config=server.SSLConfig({identity.certificate!r}, {identity.key!r})"
    script = serving(run, SERVE.replace("REST)", f"REST, {tls})"))
    client = functools.partial(keep_alive_client, authority=authority.certificate)
    ledger = Ledger()
    with under_load(ledger, [(client, script.rest)] * 12):
        wait_until(lambda: ledger.counts["right"] > 200, 30, "answers")
        end(script, "SIGTERM")
        assert script.end(45)[0] == 0
    assert ledger.bad() == []


def request_of(method: str) -> bytes:
    body = BODY.encode()
    return b"POST /model/s:%s HTTP/1.1\r\nHost: s\r\nContent-Length: %d\r\n\r\n%s" % (method.encode(), len(body), body)


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=30)


def until_end(connection: socket.socket) -> str:
    """What the server still says; an error if it resets the connection."""
    got = b""
    while piece := connection.recv(65536):
        got += piece
    return got.decode()


def test_what_is_left_after_the_grace_is_refused(run: RunScript, stubs: Any) -> None:
    script = serving(run, SERVOIR_STOP_GRACE="1")
    with ForeignClient(stubs, script.grpc) as client, connect(script.rest) as whole, connect(script.rest) as part:
        call = client.stub.Predict.future(client.request("s", "never", [{"x": 1}]), timeout=60)
        wait_until((script.work / "waits").exists, 20, "a request that runs")
        whole.sendall(request_of("never"))
        part.sendall(request_of("never")[:-5])
        with connect(script.rest) as idle:
            sent = time.monotonic()
            end(script, "SIGTERM")
            error = call.exception()
            assert time.monotonic() - sent >= 1
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert "the server is closing this port" in error.details()
            for connection in (whole, part):
                answer = until_end(connection)
                assert answer.startswith("HTTP/1.1 503 "), answer
                assert "\r\nRetry-After: 1\r\n" in answer
            assert until_end(idle) == ""
    assert script.end(20)[0] == 0
    assert any("still wait for answers after 1 s" in line for line in script.lines)


def test_a_body_that_is_on_its_way_is_answered(run: RunScript) -> None:
    script = serving(run)
    request = request_of("add")
    with connect(script.rest) as connection:
        connection.sendall(request[:-5])
        wait_until(lambda: figure(script, "servoir_connections") == 2, 10, "the connection")
        end(script, "SIGTERM")
        wait_until(lambda: not ready(script), 10, "a server that is not ready")
        connection.sendall(request[-5:])
        answer = until_end(connection)
    assert answer.startswith("HTTP/1.1 200 "), answer
    assert "\r\nConnection: close\r\n" in answer
    assert script.end(20)[0] == 0


def figure(script: ServerScript, name: str) -> float:
    lines = requests.get(f"http://{script.rest}/metrics", timeout=30).text.splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(name + " ")))


def ready(script: ServerScript) -> bool:
    answer = requests.get(f"http://{script.rest}/health/ready", timeout=30)
    assert answer.status_code in (200, 503)
    return answer.status_code == 200


def test_health_during_the_delay_and_while_requests_finish(run: RunScript, stubs: Any) -> None:
    script = serving(run, SERVOIR_DRAIN_DELAY="2", SERVOIR_STOP_GRACE="2")
    assert ready(script)
    with ForeignClient(stubs, script.grpc) as client:
        call = client.stub.Predict.future(client.request("s", "never", [{"x": 1}]), timeout=60)
        wait_until((script.work / "waits").exists, 20, "a request that runs")
        sent = time.monotonic()
        end(script, "SIGTERM")
        wait_until(lambda: not ready(script), 1, "a server that is not ready")
        # It is served as before: new connections, and old ones that are not told to go.
        answer = requests.post(f"http://{script.rest}/model/s:add", data=BODY, timeout=30)
        assert answer.json() == {"instances": [{"y": 2}]}
        assert "Connection" not in answer.headers
        assert time.monotonic() - sent < 2

        def is_refused() -> bool:
            answer = requests.post(f"http://{script.rest}/model/s:add", data=BODY, timeout=30)
            return answer.status_code == 503 and answer.headers["Retry-After"] == "1"

        wait_until(is_refused, 5, "the end of the delay")
        assert time.monotonic() - sent >= 2
        assert requests.get(f"http://{script.rest}/health/live", timeout=30).status_code == 200
        assert not ready(script)
        assert not call.done()
    assert script.end(20)[0] == 0


def test_a_client_that_does_not_read_is_not_waited_for_longer(run: RunScript) -> None:
    script = serving(run, SERVOIR_STOP_GRACE="1")
    with connect(script.rest) as deaf:
        deaf.settimeout(0.5)
        # At last neither the kernel nor the server takes any more.
        with pytest.raises(TimeoutError):
            deaf.sendall(b"GET /metrics HTTP/1.1\r\nHost: s\r\n\r\n" * 1_000_000)
        end(script, "SIGTERM")
        assert script.end(10)[0] == 0


def test_a_second_signal_ends_at_once(run: RunScript, stubs: Any) -> None:
    script = serving(run)
    with ForeignClient(stubs, script.grpc) as client:
        call = client.stub.Predict.future(client.request("s", "never", [{"x": 1}]), timeout=60)
        wait_until((script.work / "waits").exists, 20, "a request that runs")
        end(script, "SIGTERM")
        wait_until(lambda: not ready(script), 10, "a server that is not ready")
        sent = time.monotonic()
        end(script, "SIGTERM")
        assert script.end(10)[0] == 0
        assert time.monotonic() - sent < 5
        # The workers are killed at once, which the reply may still tell of.
        if call.exception() is None:
            assert whole_error(call.result())
        else:
            assert call.exception().code() is grpc.StatusCode.UNAVAILABLE
    assert processes_with(script.mark) == []


def test_stop_takes_its_grace_and_refuses_what_is_none(run: RunScript, stubs: Any) -> None:
    script = serving(
        run,
        """
        server.start_servables(config())
        server.start_grpc_server(GRPC)
        server.start_restful_server(REST)
        refused(server.stop, grace=-1)
        refused(server.stop, drain_delay="soon")
        await_file("waits")
        began = time.monotonic()
        server.stop(grace=0.5, drain_delay=0.5)
        say("took", time.monotonic() - began)
        """,
    )
    with ForeignClient(stubs, script.grpc) as client:
        call = client.stub.Predict.future(client.request("s", "never", [{"x": 1}]), timeout=60)
        assert call.exception().code() is grpc.StatusCode.UNAVAILABLE
    assert script.end(20)[0] == 0
    assert script.said("refused:") == [
        "Parameter 'grace' should be a number >= 0, but is -1 of type int",
        "Parameter 'drain_delay' should be a number >= 0, but is 'soon' of type str",
    ]
    assert float(script.said("took")[0]) >= 1
