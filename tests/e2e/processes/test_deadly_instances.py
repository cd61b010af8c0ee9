"""Instances that end the worker that runs them: only they fail, and whoever asks at the same time is answered."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
from support.foreign_client import ForeignClient
from support.servers import Start


@pytest.mark.parametrize("devices", [(0,), (0, 1)])
def test_of_eight_instances_only_the_deadly_one_fails(start: Start, stubs: Any, devices: tuple[int, ...]) -> None:
    server = start("plain", device_ids=devices)
    xs = [1, 2, 3, -1, 5, 6, 7, 8]
    with ForeignClient(stubs, server.grpc) as client:
        reply = client.reply("plain", "deadly", [{"x": np.float32(x)} for x in xs], timeout=120)
        failed = [bool(error.error_code) for error in reply.error_msg]
        assert failed == [x < 0 for x in xs], reply.error_msg
        (text,) = (error.error_msg.decode() for error in reply.error_msg if error.error_code)
        assert "died while it ran this" in text
        assert all("pid" in instance.items for instance, x in zip(reply.instances, xs, strict=True) if x > 0)


def test_a_client_whose_requests_end_workers_does_not_harm_another(start: Start, stubs: Any) -> None:
    """With a single worker. It is run twice, and is known from then on."""
    server = start("plain", device_ids=0)
    until = time.monotonic() + 12
    good: list[Any] = []
    refused: list[Any] = []

    def ask_well() -> None:
        with ForeignClient(stubs, server.grpc) as client:
            while time.monotonic() < until:
                good.append(client.reply("plain", "deadly", [{"x": np.float32(1)}], timeout=60))
                time.sleep(0.05)

    asking = threading.Thread(target=ask_well)
    asking.start()
    with ForeignClient(stubs, server.grpc) as client:
        calls = []
        while time.monotonic() < until:
            request = client.request("plain", "deadly", [{"x": np.float32(-1)}])
            calls.append(client.stub.Predict.future(request, timeout=60))
            time.sleep(0.3)
        refused = [call.result() for call in calls]
    asking.join()
    assert len(good) >= 10
    assert all(not any(error.error_code for error in reply.error_msg) for reply in good), good[-1]
    assert all(reply.error_msg[0].error_code for reply in refused)
    assert "of an instance with the same values" in refused[-1].error_msg[0].error_msg.decode()
