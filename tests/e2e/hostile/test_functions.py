"""Functions of a servable that harm their worker."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.foreign_client import ForeignClient, whole_error
from support.processes import wait_until
from support.servers import ServerProcess, Start


@pytest.mark.parametrize(("method", "expected"), [("undecodable", "no file "), ("lengthy", "ValueError: long long ")])
def test_texts_of_exceptions_that_cannot_be_sent_as_they_are(
    served: ServerProcess, stubs: Any, method: str, expected: str
) -> None:
    """The name of a file that is not UTF-8, and 20 MB: the worker lives on, and its log stays small."""
    workers = served.workers()
    with ForeignClient(stubs, served.grpc) as client:
        error = whole_error(client.reply("plain", method, [{"x": np.ones(2, np.float32)}]))
    assert expected in error
    assert served.workers() == workers
    assert sum(file.stat().st_size for file in (served.work / "serving_logs").glob("*")) < 5_000_000


def test_a_function_that_closes_all_descriptors(start: Start, stubs: Any) -> None:
    """The worker can wake nobody for its results any more: it ends, and another takes its place."""
    server = start("plain", num_parallel_workers=1)
    (worker,) = server.workers()
    with ForeignClient(stubs, server.grpc) as client:
        request = client.request("plain", "close_descriptors", [{"x": np.ones(2, np.float32)}])
        client.stub.Predict(request, timeout=20)  # answered: by the result, or by an error that names the worker's end

        def all_is_well() -> bool:
            request = client.request("plain", "chain", [{"x": np.ones(2, np.float32)}])
            return not client.stub.Predict(request, timeout=20).error_msg

        wait_until(all_is_well, 20, "a new worker serves")
        assert worker not in server.workers()
