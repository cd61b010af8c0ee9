"""What is logged, where, and the variables that say so. The Python functions of servoir.log
are tested one by one in tests/python/log."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.foreign_client import ForeignClient
from support.processes import alive, free_port, wait_until
from support.servers import ServerProcess, Start

RECORD = re.compile(
    r"\[(?P<level>DEBUG|INFO|WARNING|ERROR)\] SERVING\((?P<pid>\d+),[^)]+\):"
    r"\d{4}-\d\d-\d\d-\d\d:\d\d:\d\d\.\d{3}\.\d{3} (?P<file>\w+\.(?P<kind>py|cc|cpp|h)):\d+\] (?P<text>.*)"
)

SCRIPT = """
import sys
from servoir import log, server
server.start_grpc_server(sys.argv[1])
log.debug("from python"); log.info("from python"); log.warning("from python"); log.error("from python")
try:
    server.start_grpc_server(sys.argv[1])
except RuntimeError as error:
    print("refused:", error)
"""

OURS = ("GLOG_", "logger_", "MS_SUBMODULE", "SERVOIR_LOG", "SERVING_DEVICE_ID")


def run(directory: Path, script: str = SCRIPT, **environment: str) -> subprocess.CompletedProcess[str]:
    file = directory / "script.py"
    file.write_text(script)
    clean = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
    return subprocess.run(
        [sys.executable, str(file), f"127.0.0.1:{free_port()}"],
        cwd=directory,
        env=clean | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def records(text: str) -> list[re.Match[str]]:
    """Every line must be a record, or go on with the record before it."""
    found: list[re.Match[str]] = []
    for line in text.splitlines():
        match = RECORD.fullmatch(line)
        if match is None:
            assert found, line
            assert not line.startswith("["), line
        else:
            found.append(match)
    return found


def levels(text: str, kind: str) -> set[str]:
    """Levels of the records of Python ("py") or of C++ ("cc")."""
    return {record["level"] for record in records(text) if record["kind"] == kind}


LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR"]


@pytest.mark.parametrize(
    ("environment", "python", "native"),
    [
        ({}, 2, 2),
        ({"GLOG_v": "0"}, 0, 0),
        ({"GLOG_v": "1"}, 1, 1),
        ({"GLOG_v": "2"}, 2, 2),
        ({"GLOG_v": "3"}, 3, 3),
        ({"MS_SUBMODULE_LOG_v": "{SERVING:1}"}, 2, 1),
        ({"GLOG_v": "1", "MS_SUBMODULE_LOG_v": "{SERVING:3}"}, 1, 3),
        ({"GLOG_v": "3", "MS_SUBMODULE_LOG_v": "{OTHER:0, SERVING : 1}"}, 3, 1),
        ({"GLOG_v": "1", "MS_SUBMODULE_LOG_v": "{OTHER:3}"}, 1, 1),
        ({"SERVOIR_LOG": "info"}, 1, 1),
        ({"SERVOIR_LOG": "error", "GLOG_v": "0", "MS_SUBMODULE_LOG_v": "{SERVING:0}"}, 3, 3),
    ],
    ids=str,
)
def test_levels_of_python_and_native_records(
    environment: dict[str, str], python: int, native: int, tmp_path: Path
) -> None:
    """The start of the gRPC server is a native [INFO] record, a second start an [ERROR] record at every level."""
    done = run(tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    said = [record for record in records(done.stderr) if record["text"] == "from python"]
    assert [record["level"] for record in said] == LEVELS[python:]
    listening = [record for record in records(done.stderr) if record["text"].startswith("listening on ")]
    assert [(record["level"], record["kind"]) for record in listening] == [("INFO", "cc")] * (native <= 1)
    second = [record for record in records(done.stderr) if "already running" in record["text"]]
    assert [record["level"] for record in second] == ["ERROR"]
    assert "refused: the gRPC server is already running" in done.stdout


@pytest.mark.parametrize("value", ["SERVING:1", "{SERVING:9}", "{SERVING}", "nonsense", ""])
def test_nonsense_in_ms_submodule_log_v_is_ignored_with_a_warning(value: str, tmp_path: Path) -> None:
    done = run(tmp_path, MS_SUBMODULE_LOG_v=value, GLOG_v="1")
    assert done.returncode == 0
    (warning,) = [record for record in records(done.stderr) if record["text"].startswith("MS_SUBMODULE_LOG_v")]
    assert warning["level"] == "WARNING"
    assert f"'{value}'" in warning["text"]
    assert "{SERVING:n}" in warning["text"]
    assert "INFO" in levels(done.stderr, "cc"), "GLOG_v counts"


@pytest.mark.parametrize(
    ("environment", "variable"),
    [
        ({"GLOG_v": "4"}, "GLOG_v"),
        ({"GLOG_v": "info"}, "GLOG_v"),
        ({"GLOG_logtostderr": "yes"}, "GLOG_logtostderr"),
        ({"GLOG_logtostderr": "0"}, "GLOG_log_dir"),
        ({"GLOG_logtostderr": "0", "GLOG_log_dir": "missing"}, "GLOG_log_dir"),
        ({"GLOG_stderrthreshold": "4"}, "GLOG_stderrthreshold"),
        ({"logger_maxBytes": "-1"}, "logger_maxBytes"),
        ({"logger_backupCount": "many"}, "logger_backupCount"),
    ],
    ids=str,
)
def test_bad_values_are_value_errors_at_the_first_record(
    environment: dict[str, str], variable: str, tmp_path: Path
) -> None:
    """A start function logs, so it raises, and leaves nothing running that would keep the process alive."""
    done = run(tmp_path, **environment)
    assert done.returncode == 1
    assert f"ValueError: Environment variable {variable} " in done.stderr
    assert "start success" not in done.stdout


@pytest.mark.parametrize("ours", [False, True], ids=["their-names", "our-names"])
def test_files_instead_of_stderr(ours: bool, tmp_path: Path) -> None:
    """Python and native records in the same file, from the threshold on on stderr as well."""
    logs = tmp_path / "logs"
    logs.mkdir()
    if ours:
        environment = {"SERVOIR_LOG": "info", "SERVOIR_LOG_DIR": "logs", "SERVOIR_LOG_STDERR": "error"}
    else:
        environment = {
            "GLOG_v": "1",
            "GLOG_logtostderr": "0",
            "GLOG_log_dir": str(logs),
            "GLOG_stderrthreshold": "3",
        }
    done = run(tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    (file,) = logs.iterdir()
    text = file.read_text()
    assert levels(text, "py") == {"INFO", "WARNING", "ERROR"}
    assert levels(text, "cc") == {"INFO"}
    assert file.name == f"servoir.{records(text)[0]['pid']}.log"
    assert {record["level"] for record in records(done.stderr)} == {"ERROR"}


def test_the_threshold_is_2_by_default(tmp_path: Path) -> None:
    done = run(tmp_path, GLOG_v="0", GLOG_logtostderr="0", GLOG_log_dir=".")
    assert {record["level"] for record in records(done.stderr)} == {"WARNING", "ERROR"}


def test_files_rotate(tmp_path: Path) -> None:
    """Native records count as well."""
    environment = {"GLOG_logtostderr": "0", "GLOG_log_dir": ".", "logger_maxBytes": "300", "logger_backupCount": "2"}
    script = SCRIPT.replace("try:", "for i in range(30): log.error('record %d', i)\ntry:")
    done = run(tmp_path, script, GLOG_v="1", **environment)
    assert done.returncode == 0, done.stderr
    files = sorted(path for path in tmp_path.iterdir() if path.name.startswith("servoir."))
    assert [path.suffix for path in files] == [".log", ".1", ".2"]
    assert all(path.stat().st_size <= 300 for path in files)


# ---- workers


@pytest.fixture(scope="module")
def served(start_for_module: Start) -> ServerProcess:
    """A worker with a device and one without; LD_LIBRARY_PATH is set to something of the user's own."""
    return start_for_module(
        "values",
        device_ids=3,
        num_parallel_workers=2,
        env={"LD_LIBRARY_PATH": "/the/users/own", "GLOG_v": "1", "SERVING_DEVICE_ID": "77"},
    )


@pytest.fixture(scope="module")
def foreign(stubs: Any, served: ServerProcess) -> Iterator[ForeignClient]:
    with ForeignClient(stubs, served.grpc) as client:
        yield client


def ask_each_worker(foreign: ForeignClient, count: int, method: str, **inputs: str) -> list[dict[str, Any]]:
    """Answers of different workers; which worker takes an instance is the scheduler's affair."""
    found: dict[str, dict[str, Any]] = {}

    def all_seen() -> bool:
        for answer in foreign.call("values", method, *[inputs] * 8):
            found[repr(answer)] = answer
        return len(found) >= count

    wait_until(all_seen, 20, f"{count} different answers, not only {list(found)}")
    return list(found.values())


def logs_of(server: ServerProcess) -> dict[str, str]:
    return {path.name: path.read_text() for path in (server.work / "serving_logs").iterdir()}


def test_there_is_a_log_for_each_worker(served: ServerProcess) -> None:
    """NAME, the device's number or the extra worker's index, and the version."""
    assert set(logs_of(served)) == {"log_values_device3_version1.log", "log_values_extra0_version1.log"}


def test_a_workers_log_has_its_stdout_and_stderr_and_its_records(served: ServerProcess, foreign: ForeignClient) -> None:
    pids = {int(answer["pid"]) for answer in ask_each_worker(foreign, 2, "say", text="hello")}
    assert pids == set(served.workers())
    texts = wait_until(
        lambda: [text for text in logs_of(served).values() if "whispered hello" in text][:2], 5, "what was said"
    )
    for text in texts:
        assert "printed hello" in text.splitlines()
        assert "shouted hello" in text.splitlines()
        said = [RECORD.fullmatch(line) for line in text.splitlines()]
        found = {(match["level"], match["text"]) for match in said if match}
        assert ("WARNING", "logged hello") in found
        assert ("INFO", "whispered hello") in found
    assert not any("hello" in line for line in served.lines), "not in the server's own output"


def test_serving_device_id_is_set_for_device_workers_alone(foreign: ForeignClient) -> None:
    """Before servable_config.py is imported; what the user's environment had is no device of ours."""
    answers = ask_each_worker(foreign, 2, "environment", name="SERVING_DEVICE_ID")
    assert sorted((answer["at_import"], answer["now"]) for answer in answers) == [("3", "3"), ("not set", "not set")]


def test_ld_library_path_is_left_alone(foreign: ForeignClient) -> None:
    answers = foreign.call("values", "environment", *[{"name": "LD_LIBRARY_PATH"}] * 8)
    assert {(answer["at_import"], answer["now"]) for answer in answers} == {("/the/users/own", "/the/users/own")}


def test_a_log_is_new_at_startup_and_continued_after_a_restart(start: Start, stubs: Any, tmp_path: Path) -> None:
    old = tmp_path / "0" / "serving_logs" / "log_values_device0_version1.log"
    old.parent.mkdir(parents=True)
    old.write_text("of yesterday\n")
    server = start("values", device_ids=0)
    assert server.work == tmp_path / "0"
    with ForeignClient(stubs, server.grpc) as client:
        (answer,) = client.call("values", "say", {"text": "first"})
        os.kill(int(answer["pid"]), signal.SIGKILL)
        wait_until(lambda: not alive(int(answer["pid"])), 5, "the worker's end")

        def answered() -> bool:
            reply = client.reply("values", "say", [{"text": "second"}])
            return not reply.error_msg

        wait_until(answered, 10, "an answer of the new worker")
    text = old.read_text()
    assert "of yesterday" not in text
    assert text.index("printed first") < text.index("printed second")


def test_a_workers_records_go_to_the_directory_for_files_as_well(start: Start, stubs: Any, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    server = start("values", device_ids=0, env={"GLOG_v": "1", "GLOG_logtostderr": "0", "GLOG_log_dir": str(logs)})
    with ForeignClient(stubs, server.grpc) as client:
        (answer,) = client.call("values", "say", {"text": "hello"})
        client.call("values", "two_stages", {"x": np.int32(-1)}, {"x": np.int32(2)})
    (worker,) = server.workers()
    assert int(answer["pid"]) == worker
    files = wait_until(lambda: len(list(logs.iterdir())) == 2 and sorted(logs.iterdir()), 5, "two files")
    assert {path.name for path in files} == {f"servoir.{server.pid}.log", f"servoir.{worker}.log"}
    text = (logs / f"servoir.{worker}.log").read_text()
    assert "] whispered hello\n" in text
    assert "-1 is negative" in text, "the traceback that the native part logs"
    (own,) = logs_of(server).values()
    assert "printed hello" in own
    assert "] logged hello" in own, "warnings go to stderr as well"
    assert "whispered hello" not in own
