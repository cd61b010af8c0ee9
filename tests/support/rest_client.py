"""REST as `requests` speaks it, for the tests of rest/ and others."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import requests

from support.servers import ServerProcess

Json = Any
Ask = Callable[..., tuple[int, Json]]
# A method that gives back what it was sent, and a body for it.
TARGET = "/model/values:untouched"
GOOD = '{"instances": [{"x": 1}]}'


def refused(ask: Ask, path: str, data: str | bytes, **more: Any) -> tuple[int, str]:
    """Status and text of an answer that is {"error_msg": text} and nothing else."""
    status, body = ask(path, data, **more)
    assert set(body) == {"error_msg"}, body
    assert isinstance(body["error_msg"], str)
    assert body["error_msg"]
    return status, body["error_msg"]


def b64(data: bytes, **more: Json) -> Json:
    return {"b64": base64.b64encode(data).decode()} | more


def post(server: ServerProcess, target: str, instances: Any) -> Any:
    """The instances of an answer that is well."""
    answer = requests.post(f"http://{server.rest}/model/{target}", json={"instances": instances}, timeout=30)
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.status_code == 200, answer.text
    return answer.json()["instances"]


def left_out_records(server: ServerProcess) -> int:
    """How many records the server says that its log and its workers' have left out."""
    (line,) = [
        line
        for line in requests.get(f"http://{server.rest}/metrics", timeout=30).text.splitlines()
        if line.startswith("servoir_log_left_out_records_total ")
    ]
    return int(float(line.split()[1]))
