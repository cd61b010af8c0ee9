"""Defaults that follow from the machine, and the environment that replaces them."""

from __future__ import annotations

from pathlib import Path

import pytest
from servoir.server import limits


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SERVOIR_ARENA_LIMIT_MB", "SERVOIR_IO_THREADS", "SERVOIR_BACKEND_THREADS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("files", "groups", "expected"),
    [
        ({}, "0::/a/b\n", []),
        ({"memory.max": "1000"}, "0::/\n", [1000]),
        ({"memory.max": "max"}, "0::/\n", []),
        ({"memory.max": "1000", "a/memory.max": "max", "a/b/memory.max": "200"}, "0::/a/b\n", [200, 1000]),
        # In a container the path is the host's, and only the mount's own limit can be seen.
        ({"memory.max": "700"}, "0::/docker/abc\n", [700]),
        ({"memory/job/memory.limit_in_bytes": "500"}, "5:cpu:/x\n4:memory:/job\n0::/\n", [500]),
        ({"memory/memory.limit_in_bytes": str((1 << 63) - 4096)}, "4:memory:/job\n", []),
        ({"memory.max": "1000"}, "", []),
        ({"memory.max": "1000"}, "nonsense\n::\n", [1000]),
    ],
)
def test_memory_limits_of_control_groups(
    tmp_path: Path, files: dict[str, str], groups: str, expected: list[int]
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert limits.cgroup_memory_limits(groups, str(tmp_path)) == expected


def test_the_arena_takes_half_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < limits.arena_limit() == limits.usable_memory() // 2
    monkeypatch.setenv("SERVOIR_ARENA_LIMIT_MB", "64")
    assert limits.arena_limit() == 64 << 20


@pytest.mark.parametrize(("cores", "threads"), [(0.5, 1), (1, 1), (2, 1), (3.9, 1), (4, 2), (7, 3), (8, 4), (64, 4)])
def test_io_threads(cores: float, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert limits.io_threads(cores) == threads
    monkeypatch.setenv("SERVOIR_IO_THREADS", "7")
    assert limits.io_threads(cores) == 7


@pytest.mark.parametrize(
    ("cores", "workers", "models", "threads"),
    [(1, 1, 1, 1), (8, 1, 1, 8), (8, 2, 1, 4), (8, 2, 3, 1), (0.5, 1, 1, 1), (6.5, 1, 2, 3), (4, 0, 0, 4)],
)
def test_backend_threads(
    cores: float, workers: int, models: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert limits.backend_threads(cores, workers, models) == threads
    monkeypatch.setenv("SERVOIR_BACKEND_THREADS", "5")
    assert limits.backend_threads(cores, workers, models) == 5


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5", "²"])
def test_nonsense_in_the_environment(value: str) -> None:
    with pytest.raises(RuntimeError, match=f"SERVOIR_IO_THREADS should be a number >= 1, but is '{value}'"):
        limits.environment_number("SERVOIR_IO_THREADS", {"SERVOIR_IO_THREADS": value})
    assert limits.environment_number("SERVOIR_IO_THREADS", {"SERVOIR_IO_THREADS": " 3 "}) == 3
    assert limits.environment_number("SERVOIR_IO_THREADS", {"SERVOIR_IO_THREADS": ""}) is None
