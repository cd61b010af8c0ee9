"""servoir.log: levels, form, files (api.md, section 14)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
from servoir import log
log.debug("first %d", 1)
log.info("second")
log.warning("third %s", "x")
log.error("100 %")
print(log.get_level(), sorted(log.get_log_config().items()))
"""
RECORD = re.compile(
    r"\[(DEBUG|INFO|WARNING|ERROR)\] SERVING\(\d+,[^)]+\):"
    r"\d{4}-\d\d-\d\d-\d\d:\d\d:\d\d\.\d{3}\.\d{3} <string>:\d+\] (.+)"
)


def run(code: str = CODE, **environment: str) -> subprocess.CompletedProcess[str]:
    names = ("GLOG_", "logger_", "MS_SUBMODULE", "SERVOIR_LOG")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(names)}
    return subprocess.run(
        [sys.executable, "-c", code], env=clean | environment, capture_output=True, text=True, check=False
    )


def records(text: str) -> list[tuple[str, str]]:
    found = []
    for line in text.splitlines():
        match = RECORD.fullmatch(line)
        assert match, line
        found.append((match[1], match[2]))
    return found


ALL = [("DEBUG", "first 1"), ("INFO", "second"), ("WARNING", "third x"), ("ERROR", "100 %")]


@pytest.mark.parametrize(
    ("environment", "level"),
    [
        ({}, 2),
        ({"GLOG_v": "0"}, 0),
        ({"GLOG_v": "1"}, 1),
        ({"GLOG_v": "3"}, 3),
        ({"GLOG_v": "3", "SERVOIR_LOG": "info"}, 1),
        ({"SERVOIR_LOG": "debug"}, 0),
        ({"MS_SUBMODULE_LOG_v": "{SERVING:0}"}, 2),  # of the C++ parts only
    ],
)
def test_levels(environment: dict[str, str], level: int) -> None:
    done = run(**environment)
    assert records(done.stderr) == ALL[level:]
    assert done.stdout == f"{level} [('GLOG_logtostderr', '1'), ('GLOG_v', '{level}')]\n"


def test_files(tmp_path: Path) -> None:
    done = run(GLOG_v="1", GLOG_logtostderr="0", GLOG_log_dir=str(tmp_path), GLOG_stderrthreshold="3")
    (file,) = tmp_path.iterdir()
    assert records(file.read_text()) == ALL[1:]
    assert records(done.stderr) == ALL[3:]
    assert dict(eval(done.stdout.partition(" ")[2])) == {
        "GLOG_v": "1",
        "GLOG_logtostderr": "0",
        "GLOG_log_dir": str(tmp_path),
        "logger_maxBytes": "52428800",
        "logger_backupCount": "30",
        "GLOG_stderrthreshold": "3",
    }


def test_files_rotate(tmp_path: Path) -> None:
    code = "from servoir import log\nfor i in range(100): log.error('record %d', i)"
    run(
        code,
        GLOG_logtostderr="0",
        GLOG_log_dir=str(tmp_path),
        logger_maxBytes="1000",
        logger_backupCount="2",
    )
    files = sorted(tmp_path.iterdir())
    assert len(files) == 3
    assert all(file.stat().st_size <= 1000 for file in files)
    assert "record 99" in files[0].read_text()


@pytest.mark.parametrize(
    ("environment", "variable"),
    [
        ({"GLOG_v": "4"}, "GLOG_v"),
        ({"GLOG_v": "-1"}, "GLOG_v"),
        ({"GLOG_v": "info"}, "GLOG_v"),
        ({"GLOG_v": ""}, "GLOG_v"),
        ({"GLOG_logtostderr": "2"}, "GLOG_logtostderr"),
        ({"GLOG_logtostderr": "0"}, "GLOG_log_dir"),
        ({"GLOG_logtostderr": "0", "GLOG_log_dir": "/nowhere/at/all"}, "GLOG_log_dir"),
        ({"GLOG_stderrthreshold": "9"}, "GLOG_stderrthreshold"),
        ({"logger_maxBytes": "0"}, "logger_maxBytes"),
        ({"logger_backupCount": "x"}, "logger_backupCount"),
        ({"SERVOIR_LOG": "loud"}, "SERVOIR_LOG"),
    ],
)
def test_bad_values_show_at_the_first_record(environment: dict[str, str], variable: str) -> None:
    assert run("import servoir.log", **environment).returncode == 0
    done = run("from servoir import log\nlog.error('x')", **environment)
    assert done.returncode != 0
    assert f"ValueError: Environment variable {variable} " in done.stderr


def test_a_closed_stderr_does_no_harm() -> None:
    done = run("import sys\nfrom servoir import log\nsys.stderr.close()\nlog.error('x')\nprint('alive')")
    assert done.stdout == "alive\n"


def test_a_forked_child_has_a_file_of_its_own(tmp_path: Path) -> None:
    code = (
        "import os\nfrom servoir import log\nlog.error('parent')\n"
        "pid = os.fork()\n"
        "if not pid:\n    log.error('child')\n    os._exit(0)\n"
        "os.waitpid(pid, 0)"
    )
    run(code, GLOG_logtostderr="0", GLOG_log_dir=str(tmp_path), GLOG_stderrthreshold="3")
    texts = [records(file.read_text()) for file in tmp_path.iterdir()]
    assert sorted(texts) == [[("ERROR", "child")], [("ERROR", "parent")]]
