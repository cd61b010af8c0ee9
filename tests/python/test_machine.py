"""Defaults that follow from the machine, and the environment that replaces them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from servoir import machine


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
    assert machine.cgroup_memory_limits(groups, str(tmp_path)) == expected


def test_the_arena_takes_half_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < machine.arena_limit() == machine.usable_memory() // 2
    monkeypatch.setenv("SERVOIR_ARENA_LIMIT_MB", "64")
    assert machine.arena_limit() == 64 << 20


@pytest.mark.parametrize(
    ("cores", "threads"), [(0.5, 1), (1, 1), (2, 1), (3.9, 1), (4, 2), (7, 3), (8, 4), (24, 12), (64, 16)]
)
def test_io_threads(cores: float, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.io_threads(cores) == threads
    monkeypatch.setenv("SERVOIR_IO_THREADS", "7")
    assert machine.io_threads(cores) == 7


@pytest.mark.parametrize(
    ("cores", "workers", "models", "threads"),
    [(1, 1, 1, 1), (8, 1, 1, 8), (8, 2, 1, 4), (8, 2, 3, 1), (0.5, 1, 1, 1), (6.5, 1, 2, 3), (4, 0, 0, 4)],
)
def test_backend_threads(
    cores: float, workers: int, models: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert machine.backend_threads(cores, workers, models) == threads
    monkeypatch.setenv("SERVOIR_BACKEND_THREADS", "5")
    assert machine.backend_threads(cores, workers, models) == 5


def test_descriptors_are_raised_for_the_server_and_lowered_for_others() -> None:
    """In a process of its own, since a limit holds for the whole process."""
    code = """
import os, resource, subprocess, sys
from servoir import machine
def soft(pid): return resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
machine.restore_descriptor_limit(os.getpid())
assert soft(0) == 100
machine.raise_descriptor_limit()
machine.raise_descriptor_limit()
assert soft(0) == min(hard, 1 << 20), soft(0)
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
assert soft(child.pid) == soft(0)
machine.restore_descriptor_limit(child.pid)
assert soft(child.pid) == 100
child.communicate(b"")
machine.restore_descriptor_limit(child.pid)  # it has ended
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
