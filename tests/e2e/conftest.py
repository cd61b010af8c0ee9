"""Servers for the end-to-end tests, and clients that are not ours: grpcio with stubs of their own .proto file."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "examples")]

import exact_models  # noqa: E402
from server_process import ServerProcess, started  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """What the servers had to say, beside a failure."""
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
    shutil.copytree(HERE / "servables", directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    exact_models.make(directory / "exact")
    return directory


@pytest.fixture(scope="session")
def example_servables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the servables of examples/, models collected."""
    demo_models = importlib.import_module("demo_models")
    directory = tmp_path_factory.mktemp("examples")
    demo_models.collect(directory)
    return directory


Start = Callable[..., ServerProcess]


def starter(work: Path, servables: Path) -> Iterator[Start]:
    """start(name, …, options=(), env=None, **ServableStartConfig's keywords): a server with these servables, ready."""
    mine: list[ServerProcess] = []

    def start(
        *names: str,
        directory: Path = servables,
        options: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
        **keywords: Any,
    ) -> ServerProcess:
        configs = [{"servable_directory": str(directory), "servable_name": name, **keywords} for name in names]
        server = ServerProcess.serving(work / str(len(mine)), configs, *options, env=env)
        mine.append(server)
        return server

    yield start
    for server in mine:
        server.kill()


@pytest.fixture
def start(tmp_path: Path, servables: Path) -> Iterator[Start]:
    yield from starter(tmp_path, servables)


@pytest.fixture(scope="module")
def start_for_module(tmp_path_factory: pytest.TempPathFactory, servables: Path) -> Iterator[Start]:
    yield from starter(tmp_path_factory.mktemp("server"), servables)


@pytest.fixture(scope="module")
def server(start_for_module: Start) -> Iterator[ServerProcess]:
    """`plain` and `exact` in one server, one worker each; must still be there, with the same workers, at the end."""
    server = start_for_module("plain", "exact", device_ids=0)
    workers = server.workers()
    assert len(workers) == 2
    yield server
    assert server.running(), "the server ended during the tests of this module"
    assert server.workers() == workers, "a worker ended during the tests of this module"


@pytest.fixture(scope="session")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """(messages, services) as grpcio-tools makes them from the tests' own .proto file."""
    from grpc_tools import protoc

    directory = tmp_path_factory.mktemp("stubs")
    proto = HERE / "contract" / "ms_service.proto"
    shutil.copyfile(proto, directory / "ms_service_of_tests.proto")
    status = protoc.main(
        [
            "protoc",
            f"-I{directory}",
            f"--python_out={directory}",
            f"--grpc_python_out={directory}",
            str(directory / "ms_service_of_tests.proto"),
        ]
    )
    assert status == 0, f"protoc ended with {status}"
    sys.path.insert(0, str(directory))
    return importlib.import_module("ms_service_of_tests_pb2"), importlib.import_module("ms_service_of_tests_pb2_grpc")
