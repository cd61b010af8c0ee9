"""A Status of the C++ parts is a RuntimeError in Python that carries its code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servoir import _core

# The numbers of gRPC's status codes.
INVALID_ARGUMENT = 3
NOT_FOUND = 5
FAILED_PRECONDITION = 9


@pytest.fixture
def server() -> Iterator[_core.Server]:
    made = _core.Server(arena_limit=16 << 20, io_threads=1)
    yield made
    made.stop()


def failure(call: Callable[..., Any], *arguments: Any, **keywords: Any) -> tuple[type[BaseException], int]:
    """The type of what the call raises, and its code."""
    with pytest.raises(RuntimeError) as raised:
        call(*arguments, **keywords)
    assert str(raised.value)
    return type(raised.value), raised.value.code  # type: ignore[attr-defined]


def test_what_the_server_does_not_know(server: _core.Server) -> None:
    assert failure(server.detach_lane, 7, "gone") == (RuntimeError, NOT_FOUND)


def test_what_the_server_is_given_wrongly(server: _core.Server) -> None:
    assert failure(_core.check_address, "nowhere") == (RuntimeError, INVALID_ARGUMENT)
    assert failure(server.listen, "127.0.0.1:0", "smtp", 1 << 20) == (RuntimeError, INVALID_ARGUMENT)
    assert failure(server.publish, {"name": "half"}) == (RuntimeError, INVALID_ARGUMENT)


def test_a_server_that_has_been_stopped(server: _core.Server) -> None:
    server.stop()
    assert failure(server.open_lane) == (RuntimeError, FAILED_PRECONDITION)


def test_a_backend_that_cannot_be_loaded(tmp_path: Path) -> None:
    program = str(tmp_path / "none")
    missing = str(tmp_path / "plugin.so")
    _, code = failure(_core.NativeBackend.load, missing, [], trial_program=program, trial_seconds=1.0)
    assert code == NOT_FOUND


def test_ports_that_disagree() -> None:
    ports = [
        {"name": "a", "dtype": "float32", "shape": [2, 3]},
        {"name": "b", "dtype": "float32", "shape": [4, 3]},
    ]
    found = failure(_core.batch_size, ports, ports[:1], with_batch_dim=True, unbatched_inputs=[], unbatched_outputs=[])
    assert found == (RuntimeError, INVALID_ARGUMENT)


def test_an_error_of_python_stays_what_it_is(server: _core.Server) -> None:
    with pytest.raises(TypeError):
        server.withdraw("first", "gone")  # type: ignore[arg-type]
