"""A server that must serve those who behave, before and after each test."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import requests
from support.foreign_client import ForeignClient
from support.servers import ServerProcess


@pytest.fixture
def served(server: ServerProcess, stubs: Any) -> Iterator[ServerProcess]:
    """The module's server; a client that behaves must be served before and after each test."""
    with ForeignClient(stubs, server.grpc) as client:

        def all_is_well() -> None:
            assert client.call("plain", "chain", {"x": np.ones(2, np.float32)})[0]["y"].tolist() == [3, 3]

        all_is_well()
        yield server
        start = time.monotonic()
        all_is_well()
        body = '{"instances": [{"x": [1.0]}]}'
        answer = requests.post(f"http://{server.rest}/model/plain:chain", data=body, timeout=10)
        assert answer.json()["instances"][0]["y"] == [3.0]
        assert time.monotonic() - start < 2
