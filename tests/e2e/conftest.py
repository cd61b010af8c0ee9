"""Servers for the end-to-end tests, and clients that are not ours: grpcio with stubs of their own .proto file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servoir import server as servoir_server
from support import EXAMPLES
from support import stubs as generated
from support.foreign_client import ForeignClient
from support.models import exact_models
from support.modules import load_module
from support.scripts import RunScript, script_runner
from support.servers import ServerProcess, Start, keeping_its_workers, started, starter

SERVABLES = Path(__file__).resolve().parent / "servables"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Shows what the servers have written with each failure."""
    del item, call
    outcome: Any = yield
    report = outcome.get_result()
    if report.failed:
        for server in started:
            report.sections.append((f"server {server.pid}", server.log()))


@pytest.fixture(scope="session")
def servables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the servables of these tests, models made."""
    directory = tmp_path_factory.mktemp("servables")
    shutil.copytree(SERVABLES, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    exact_models.make(directory / "exact")
    return directory


@pytest.fixture(scope="session")
def example_servables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the servables of examples/, models collected."""
    directory = tmp_path_factory.mktemp("examples")
    load_module(EXAMPLES / "demo_models.py").collect(directory)
    return directory


@pytest.fixture
def start(tmp_path: Path, servables: Path) -> Iterator[Start]:
    yield from starter(tmp_path, servables)


@pytest.fixture(scope="module")
def start_for_module(tmp_path_factory: pytest.TempPathFactory, servables: Path) -> Iterator[Start]:
    yield from starter(tmp_path_factory.mktemp("server"), servables)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunScript]:
    """run(code, servables={name: text}, …): a script that the test writes itself; see support/scripts.py."""
    yield from script_runner(tmp_path_factory.mktemp("scripts"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current directory; whatever a test has started in this process is stopped."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    servoir_server.stop()


@pytest.fixture(scope="module")
def server(start_for_module: Start) -> Iterator[ServerProcess]:
    """`plain`, `exact` and `values` in one server, a worker each. No value and no error may cost a worker its life:
    all must still be there at the end."""
    server = start_for_module("plain", "exact", "values", device_ids=0)
    assert len(server.workers()) == 3
    with keeping_its_workers(server):
        yield server


@pytest.fixture(scope="module")
def foreign(stubs: tuple[Any, Any], server: ServerProcess) -> Iterator[ForeignClient]:
    """A client of the module's server."""
    with ForeignClient(stubs, server.grpc) as client:
        yield client


@pytest.fixture(scope="session")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """(messages, services) as grpcio-tools makes them from the tests' own .proto file."""
    directory = tmp_path_factory.mktemp("stubs")
    generated.make(directory)
    return generated.load(directory)
