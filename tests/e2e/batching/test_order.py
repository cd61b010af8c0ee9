"""Whose requests are run first: connections take turns, and clients may say how urgent a request is."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import requests
from support.foreign_client import ForeignClient
from support.processes import wait_until
from support.servers import ServerProcess, Start

SERVABLE = """
import pathlib
import time

from servoir.server import register

HERE = pathlib.Path({here!r})


def write_down(instances):
    with open(HERE / "ran", "a") as ran:
        for (name,) in instances:
            ran.write(name + "\\n")
            ran.flush()
            while name == "first" and not (HERE / "go").exists():
                time.sleep(0.005)
            yield name


@register.register_method(output_names=["name"])
def run(name):
    return register.add_stage(write_down, name, outputs_count=1, batch_size=1)


@register.register_method(output_names=["name"])
def read(name):
    return name
"""


class Held:
    """A server whose only worker runs "first" until go(): what is sent meanwhile waits."""

    def __init__(self, start: Start, stubs: Any, directory: Path) -> None:
        self.ran_file, self.go_file = directory / "ran", directory / "go"
        (directory / "noting").mkdir()
        (directory / "noting" / "servable_config.py").write_text(SERVABLE.format(here=str(directory)))
        self.server: ServerProcess = start("noting", directory=directory, device_ids=0)
        self.stubs = stubs
        self.clients: list[ForeignClient] = []
        self.answers: list[Any] = []
        self.send(self.connect(), "first")
        wait_until(lambda: self.ran() == ["first"], 10, "a worker that runs the first")

    def connect(self) -> ForeignClient:
        self.clients.append(ForeignClient(self.stubs, self.server.grpc))
        return self.clients[-1]

    def send(self, client: ForeignClient, *names: str, priority: str = "") -> None:
        """Sends each as a request, and waits until the server has read them."""
        metadata = [("priority", priority)] if priority else []
        for name in names:
            request = client.request("noting", "run", [{"name": name}])
            self.answers.append(client.stub.Predict.future(request, timeout=60, metadata=metadata))
        # A last one on the same connection: it is of a method without stages, so it is answered as soon as it is read.
        client.call("noting", "read", {"name": "last"})

    def ran(self) -> list[str]:
        return self.ran_file.read_text().split() if self.ran_file.exists() else []

    def go(self) -> list[str]:
        """What ran after the first, in its order."""
        self.go_file.touch()
        for answer in self.answers:
            assert not answer.result().error_msg
        for client in self.clients:
            client.channel.close()
        return self.ran()[1:]


def test_connections_take_turns(start: Start, stubs: Any, tmp_path: Path) -> None:
    held = Held(start, stubs, tmp_path)
    held.send(held.connect(), *["much"] * 60)
    held.send(held.connect(), *["little"] * 3)
    ran = held.go()
    assert len(ran) == 63
    assert ran[:9].count("little") == 3, "one after each of the other's, but for what a worker had got before"


def test_a_request_of_many_instances_takes_turns(start: Start, stubs: Any, tmp_path: Path) -> None:
    held = Held(start, stubs, tmp_path)
    client = held.connect()
    request = client.request("noting", "run", [{"name": "much"}] * 60)
    held.answers.append(client.stub.Predict.future(request, timeout=60))
    client.call("noting", "read", {"name": "last"})
    held.send(held.connect(), "little")
    assert "little" in held.go()[:4]


def test_the_most_urgent_goes_first(start: Start, stubs: Any, tmp_path: Path) -> None:
    """The header Priority of RFC 9218: u=0 to u=7, 3 where there is none, or none that is understood."""
    held = Held(start, stubs, tmp_path)
    client = held.connect()
    held.send(client, *["last"] * 5, priority="u=7, i")
    held.send(client, *["usual"] * 2)
    held.send(client, "usual", priority="u=9")
    held.send(client, "usual", priority="urgent")
    held.send(client, *["urgent"] * 4, priority="i, u=1;x")
    ran = held.go()
    ran.remove("last")  # that a worker had got before the others came
    assert ran == ["urgent"] * 4 + ["usual"] * 4 + ["last"] * 4


def test_nobody_is_passed_for_ever(start: Start, stubs: Any, tmp_path: Path) -> None:
    held = Held(start, stubs, tmp_path)
    held.send(held.connect(), *["urgent"] * 40, priority="u=0")
    held.send(held.connect(), "last", priority="u=7")
    ran = held.go()
    assert 8 <= ran.index("last") <= 12


def test_rest_has_the_same_header(start: Start, stubs: Any, tmp_path: Path) -> None:
    held = Held(start, stubs, tmp_path)
    held.send(held.connect(), *["usual"] * 5)

    def post() -> None:
        answer = requests.post(
            f"http://{held.server.rest}/model/noting:run",
            json={"instances": [{"name": "urgent"}]},
            headers={"priority": "u=0"},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text

    poster = threading.Thread(target=post)
    poster.start()
    queued = 'servoir_callee_queued_instances{callee="write_down",servable="noting",version="1"}'
    figures = f"http://{held.server.rest}/metrics"
    wait_until(lambda: f"{queued} 5" in requests.get(figures, timeout=10).text, 10, "a request of REST that waits")
    ran = held.go()
    poster.join()
    assert ran == ["usual", "urgent", *["usual"] * 4]
