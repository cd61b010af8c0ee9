"""A server with messages of 1 MiB at most, and a connection to it that stays."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from support.rest_client import Ask, Json
from support.servers import ServerProcess, Start


@pytest.fixture(scope="module")
def server(start_for_module: Start) -> Iterator[ServerProcess]:
    server = start_for_module("plain", "values", "exact", device_ids=0, options=("--max-mb", "1"))
    workers = server.workers()
    yield server
    assert server.workers() == workers


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


@pytest.fixture
def ask(server: ServerProcess, session: requests.Session) -> Ask:
    """(status, JSON) for a path and a body, on a connection that stays."""

    def ask(path: str, data: str | bytes, method: str = "POST", **headers: str) -> tuple[int, Json]:
        answer = session.request(method, f"http://{server.rest}{path}", data=data, headers=headers, timeout=30)
        assert answer.headers["content-type"] == "application/json"
        return answer.status_code, answer.json()

    return ask
