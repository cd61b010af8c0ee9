"""The arena: who gets room in it, and what is given back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import requests
from prometheus_client.parser import text_string_to_metric_families
from support.foreign_client import ForeignClient, whole_error
from support.processes import status_kib, wait_until
from support.servers import ServerProcess, Start


def figure(server: ServerProcess, name: str) -> float:
    """The sum of a figure's samples."""
    text = requests.get(f"http://{server.rest}/metrics", timeout=30).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return sum(sample.value for sample in samples if sample.name == name)


def holds_a_worker(directory: Path) -> bool:
    return any(directory.glob("held-*"))


def test_images_of_many_sizes_in_an_arena_of_twice_their_size(start: Start, stubs: Any, tmp_path: Path) -> None:
    server = start("plain", device_ids=0, env={"SERVOIR_ARENA_LIMIT_MB": "64"})
    sizes = [200_000 + 1000 * i for i in range(128)]
    with ForeignClient(stubs, server.grpc) as client:
        for wave in range(3):
            directory = tmp_path / f"wave{wave}"
            directory.mkdir()
            busy = client.stub.Predict.future(
                client.request("plain", "hold", [{"directory": str(directory)}]), timeout=60
            )
            wait_until(partial(holds_a_worker, directory), 10, "a busy worker")
            calls = [
                client.stub.Predict.future(
                    client.request("plain", "size", [{"x": np.zeros(size, np.uint8)}]), timeout=60
                )
                for size in sizes
            ]
            wait_until(lambda: figure(server, "servoir_arena_used_bytes") >= sum(sizes), 30, "128 images in flight")
            (directory / "release").touch()
            assert [client.outputs(call.result(), 1)[0] for call in calls] == [{"size": size} for size in sizes]
            assert busy.result().instances


def test_one_connection_leaves_memory_to_the_others(start: Start, stubs: Any, tmp_path: Path) -> None:
    """60 images of a megabyte wait in an arena of 64 MiB; one connection may have 48 MiB."""
    server = start("plain", device_ids=0, env={"SERVOIR_ARENA_LIMIT_MB": "64"})
    with ForeignClient(stubs, server.grpc) as greedy, ForeignClient(stubs, server.grpc) as other:
        busy = greedy.stub.Predict.future(greedy.request("plain", "hold", [{"directory": str(tmp_path)}]), timeout=60)
        wait_until(partial(holds_a_worker, tmp_path), 10, "a busy worker")
        image = greedy.request("plain", "size", [{"x": np.zeros(1 << 20, np.uint8)}])
        calls = [greedy.stub.Predict.future(image, timeout=60) for _ in range(60)]

        def waiting(of: list[grpc.Future]) -> bool:
            queued = figure(server, "servoir_callee_queued_instances")
            return queued + sum(call.done() for call in of) >= len(of)

        wait_until(partial(waiting, calls), 30, "60 images that wait or were refused")
        refused = [call for call in calls if call.done()]
        calls.append(other.stub.Predict.future(image, timeout=60))
        wait_until(partial(waiting, calls), 10, "the image of the other connection")
        assert not calls[-1].done()
        (tmp_path / "release").touch()
        assert 10 <= len(refused) <= 20
        for call in refused:
            assert f"of the {48 << 20} bytes that one connection may have" in whole_error(call.result())
        for call in calls:
            if call not in refused:
                assert greedy.outputs(call.result(), 1)[0] == {"size": 1 << 20}
        assert busy.result().instances


def test_requests_of_very_many_instances_have_a_budget(start: Start, stubs: Any, tmp_path: Path) -> None:
    """1.6 MB of JSON are 200 000 instances, which take 45 MB besides their tensors."""
    server = start("plain", device_ids=0, env={"SERVOIR_ARENA_LIMIT_MB": "512"})
    url = f"http://{server.rest}/model/plain:size"
    count = 200_000
    body = '{"instances":[' + ",".join(['{"x":1}'] * count) + "]}"
    assert requests.post(url, data='{"instances":[{"x":1}]}', timeout=30).json() == {"instances": [{"size": 1}]}
    before = status_kib(server.pid, "RssAnon")
    with ForeignClient(stubs, server.grpc) as client, ThreadPoolExecutor(24) as pool:
        busy = client.stub.Predict.future(client.request("plain", "hold", [{"directory": str(tmp_path)}]), timeout=120)
        wait_until(lambda: list(tmp_path.glob("held-*")), 10, "a busy worker")
        calls = [pool.submit(requests.post, url, data=body, timeout=120) for _ in range(24)]

        def all_have_come() -> bool:
            waiting = 24 - sum(call.done() for call in calls)
            return figure(server, "servoir_callee_queued_instances") >= (waiting - 0.5) * count

        try:
            wait_until(all_have_come, 60, "24 requests that wait or were refused")
            held = status_kib(server.pid, "RssAnon") - before
            assert 0 < figure(server, "servoir_request_heap_bytes") <= 128 << 20
        finally:
            (tmp_path / "release").touch()
        assert held < 320 << 10
        answers = [call.result() for call in calls]
        served = [answer for answer in answers if answer.status_code == 200]
        assert served
        assert all(answer.json() == {"instances": [{"size": 1}] * count} for answer in served)
        for answer in answers:
            if answer.status_code == 200:
                continue
            assert answer.status_code == 429
            assert "besides their tensors" in answer.json()["error_msg"]
            assert "SERVOIR_ARENA_LIMIT_MB" in answer.json()["error_msg"]
        assert busy.result().instances
    assert figure(server, "servoir_request_heap_bytes") == 0


def test_small_answers_after_a_large_one(start: Start, stubs: Any) -> None:
    server = start("plain", device_ids=0, env={"SERVOIR_ARENA_LIMIT_MB": "512"})
    with ForeignClient(stubs, server.grpc) as client:
        (large,) = client.call("plain", "zeros", {"count": np.int64(12_000_000)})
        assert large["y"].shape == (12_000_000,)
        small = client.request("plain", "zeros", [{"count": np.int64(1)}])
        for _ in range(5):
            calls = [client.stub.Predict.future(small, timeout=60) for _ in range(200)]
            assert all(client.outputs(call.result(), 1)[0]["y"].tolist() == [0] for call in calls)


def test_answers_that_find_no_room_wait_for_those_before_them(start: Start, stubs: Any) -> None:
    """24 answers of 16 MB, of which three workers make one each at a time, in an arena of 64 MB."""
    server = start("plain", device_ids=0, num_parallel_workers=3, env={"SERVOIR_ARENA_LIMIT_MB": "64"})
    with ForeignClient(stubs, server.grpc) as client:
        request = client.request("plain", "zeros", [{"count": np.int64(4_000_000)}])
        calls = [client.stub.Predict.future(request, timeout=120) for _ in range(24)]
        for call in calls:
            (answer,) = client.outputs(call.result(), 1)
            assert answer["y"].shape == (4_000_000,), answer


def test_an_answer_larger_than_the_arena_is_refused_with_use_and_limit(start: Start, stubs: Any) -> None:
    server = start("plain", device_ids=0, env={"SERVOIR_ARENA_LIMIT_MB": "64"})
    with ForeignClient(stubs, server.grpc) as client:
        error = whole_error(client.reply("plain", "zeros", [{"count": np.int64(20_000_000)}]))
        assert "no memory left for 80000000 bytes of results" in error
        assert f"of {64 << 20} bytes of its arena are in use" in error
        assert "SERVOIR_ARENA_LIMIT_MB" in error
