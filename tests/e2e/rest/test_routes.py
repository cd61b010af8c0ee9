"""Paths, methods and bodies of REST requests: which are taken, and with which status the others are refused."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests
from servoir.client import Client
from support.rest_client import GOOD, TARGET, Ask, refused
from support.servers import ServerProcess

MIB = 1 << 20


@pytest.mark.parametrize(
    "path",
    [
        "/model/values:untouched",
        "/model/values/version/0:untouched",
        "/model/values/version/1:untouched",
        "/version/1/model/values:untouched",
        "/version/0/model/values:untouched",
        "/any/prefix/model/values:untouched",
        "/api/version/1/model/values:untouched",
        "/model/%76alues:untouched",
    ],
)
def test_accepted_paths(ask: Ask, path: str) -> None:
    assert ask(path, GOOD) == (200, {"instances": [{"y": 1}]})


@pytest.mark.parametrize(
    ("path", "status", "texts"),
    [
        ("/", 404, ["names no model", "/model/NAME[/version/VERSION]:METHOD"]),
        ("/values:untouched", 404, ["names no model", "/model/NAME[/version/VERSION]:METHOD"]),
        ("/models/values:untouched", 404, ["names no model"]),
        ("/v1/models/values:predict", 404, ["names no model"]),
        ("/model/values", 400, ["names no method", "/model/NAME"]),
        ("/model/values:", 400, ["names no method"]),
        ("/model/:untouched", 400, ["names no model"]),
        ("/model//version/1:untouched", 400, ["names no model"]),
        ("/model/values/version/-1:untouched", 400, ["'-1'", "0 to 4294967294"]),
        ("/model/values/version/4294967295:untouched", 400, ["'4294967295'", "0 to 4294967294"]),
        ("/model/values/version/one:untouched", 400, ["'one'", "no number"]),
        ("/model/values/version/:untouched", 400, ["''", "no number"]),
        ("/version/x/model/values:untouched", 400, ["'x'", "no number"]),
        ("/version//model/values:untouched", 400, ["no number"]),
        ("/model/values/version/7:untouched", 404, ["version 7 is not available", "running versions: 1"]),
        ("/model/values/version/4294967294:untouched", 404, ["running versions: 1"]),
        ("/model/nowhere:untouched", 404, ["'nowhere' is not available", "'values'"]),
        ("/model/values:nothing", 404, ["has no method 'nothing'", "'untouched'"]),
        ("/model/values:untouched?timeout=1", 404, ["'untouched?timeout=1'"]),
        ("/model/values:untouched/more", 404, ["'untouched/more'"]),
        ("/model/values:untouched/", 404, ["'untouched/'"]),
        ("/model/%FF%22:untouched", 404, ["is not available"]),
    ],
)
def test_refused_paths(ask: Ask, path: str, status: int, texts: list[str]) -> None:
    got, text = refused(ask, path, GOOD)
    assert got == status, text
    for part in texts:
        assert part in text


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "NONSENSE"])
@pytest.mark.parametrize("path", [TARGET, "/", "/unknown/route"])
def test_only_post(server: ServerProcess, ask: Ask, method: str, path: str) -> None:
    status, text = refused(ask, path, b"", method=method)
    assert status == 405
    assert f"the method is {method}" in text
    assert "only POST" in text


def test_head_has_no_body_and_the_connection_goes_on(server: ServerProcess) -> None:
    with closing(http.client.HTTPConnection(server.rest, timeout=10)) as connection:
        connection.request("HEAD", TARGET)
        answer = connection.getresponse()
        assert (answer.status, answer.read(), answer.headers["Allow"]) == (405, b"", "POST")
        assert int(answer.headers["Content-Length"]) > 0
        connection.request("POST", TARGET, GOOD)
        assert connection.getresponse().status == 200


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/octet-stream", "nonsense", ""])
def test_the_content_type_does_not_matter(ask: Ask, content_type: str) -> None:
    assert ask(TARGET, GOOD, **{"Content-Type": content_type})[0] == 200


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        (b"", ["empty"]),
        (b" \r\n", ["empty"]),
        (b"{", ["not JSON"]),
        (b'{"instances": [{"x": 1}]}}', ["not JSON"]),
        (b'{"instances": [{"x": 01}]}', ["not JSON"]),
        (b'{"instances": [{"x": NaN}]}', ["not JSON"]),
        (b"{'instances': [{'x': 1}]}", ["not JSON"]),
        (b"\xff\xfe\x00\x80", ["not JSON"]),
        (bytes(range(256)), ["not JSON"]),
        (b'{"instances": [{"x": "\xff"}]}', ["not JSON"]),
        (b'{"instances": [{"x": ' + b"[" * 5000 + b"1" + b"]" * 5000 + b"}]}", ["not JSON"]),
        (b"[]", ["an array", '{"instances": …}']),
        (b'"text"', ["a string", '{"instances": …}']),
        (b"{}", ['no "instances"']),
        (b'{"instance": [{"x": 1}]}', ['no "instances"']),
        (b'{"instances": []}', ["no instances", "at least one"]),
        (b'{"instances": {}}', ["lacks input 'x'"]),
        (b'{"instances": [{}]}', ["lacks input 'x'"]),
        (b'{"instances": 3}', ["an integer", "an array of instances"]),
        (b'{"instances": null}', ["null", "an array of instances"]),
        (b'{"instances": "x"}', ["a string", "an array of instances"]),
        (b'{"instances": [1]}', ["instance 0 is an integer", "an object"]),
        (b'{"instances": [[{"x": 1}]]}', ["instance 0 is an array", "an object"]),
        (b'{"instances": [{"x": 1}, 2]}', ["instance 1 is an integer", "an object"]),
        (b'{"instances": [{"x": 1}, {"y": 1}]}', ["instance 1 lacks input 'x'"]),
        (b'{"instances": [{"": 1, "x": 1}]}', ["instance 0", "empty name"]),
        (b'{"instances": {"": 1, "x": 1}}', ["empty name"]),
    ],
)
def test_bodies_that_are_no_request(ask: Ask, body: bytes, texts: list[str]) -> None:
    status, text = refused(ask, TARGET, body)
    assert status == 400
    for part in texts:
        assert part in text


@pytest.mark.parametrize(
    "body",
    [
        '{"instances": [{"x": 1}], "signature_name": "default", "more": {"instances": 2}}',
        '{"before": null, "instances": [{"x": 1}]}',
        '{"instances": {"x": 1}}',
        '{"instances": [{"x": 1, "unknown": {"whatever": []}}]}',
        '\r\n {"instances" : [ {"x":1} ] } \n',
    ],
)
def test_bodies_that_are_fine(ask: Ask, body: str) -> None:
    """Other keys, one object instead of an array, unknown inputs, spaces."""
    assert ask(TARGET, body) == (200, {"instances": [{"y": 1}]})


def test_order_of_the_checks(ask: Ask) -> None:
    """Method, size, JSON, path, content."""
    large = "x" * (MIB + 1)
    assert refused(ask, "/nonsense", large, method="PUT")[0] == 405
    assert refused(ask, "/nonsense", large)[0] == 413
    assert "not JSON" in refused(ask, "/nonsense", "x")[1]
    assert "names no model" in refused(ask, "/nonsense", "[]")[1]
    assert "an array" in refused(ask, "/model/nowhere:nothing", "[]")[1]


def test_503_before_anything_is_served(start_empty: ServerProcess) -> None:
    answer = requests.post(f"http://{start_empty.rest}{TARGET}", data=GOOD, timeout=10)
    assert (answer.status_code, answer.reason) == (503, "Service Unavailable")
    assert "servable 'values' is not available" in answer.json()["error_msg"]
    by_grpc = Client(start_empty.grpc, "values", "untouched").infer({"x": 1})
    assert by_grpc == {"error": answer.json()["error_msg"]}


@pytest.fixture
def start_empty(tmp_path: Path) -> Iterator[ServerProcess]:
    """Both servers, and no servable yet."""
    script = tmp_path / "empty.py"
    script.write_text(
        "import signal, sys\n"
        "from servoir import server\n"
        "server.start_grpc_server(sys.argv[2])\n"
        "server.start_restful_server(sys.argv[4])\n"
        "signal.pause()\n"
    )
    server = ServerProcess([str(script)], tmp_path)
    try:
        server.ready()
        yield server
    finally:
        server.kill()
