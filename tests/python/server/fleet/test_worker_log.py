"""The log of a worker."""

from __future__ import annotations

from pathlib import Path

import pytest
from servoir.server.fleet.worker_log import log_tail, open_log


def test_it_is_emptied_by_the_first_process_and_appended_to_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "the.log"
    path.parent.mkdir()
    path.write_text("of the server before\n")
    with open_log(str(path), empty=True) as log:
        log.write(b"first\n")
    with open_log(str(path), empty=False) as log:
        log.write(b"second\n")
    assert path.read_text() == "first\nsecond\n"


def test_its_directory_is_made(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "the.log"
    open_log(str(path), empty=True).close()
    assert path.read_text() == ""


def test_the_log_of_another_server_is_shared(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "the.log")
    with open_log(path, empty=True) as others:
        others.write(b"theirs\n")
        others.flush()
        assert capfd.readouterr().err == ""
        with open_log(path, empty=True) as ours:
            ours.write(b"ours\n")
        assert f"another server writes to {path}, too" in capfd.readouterr().err
    assert Path(path).read_text() == "theirs\nours\n"


@pytest.mark.parametrize(
    ("text", "start", "tail"),
    [
        ("", 0, ""),
        ("one\ntwo\n", 0, "one\ntwo"),
        ("one\ntwo\n", 4, "two"),
        ("one\ntwo\n", 8, ""),
        ("one\ntwo\n", 100, ""),
        ("".join(f"{i}\n" for i in range(100)), 0, "\n".join(str(i) for i in range(40, 100))),
        ("x" * 10_000, 0, "x" * 8192),
    ],
)
def test_the_last_lines(tmp_path: Path, text: str, start: int, tail: str) -> None:
    path = tmp_path / "the.log"
    path.write_text(text)
    assert log_tail(str(path), start) == tail


def test_a_log_that_is_no_text_or_not_there_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "the.log"
    assert log_tail(str(path), 0) == ""
    path.write_bytes(b"\xff\xfe ok\n")
    assert log_tail(str(path), 0) == "\ufffd\ufffd ok"
