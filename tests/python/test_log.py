"""servoir.log: levels, form, files."""

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
        ({"SERVOIR_LOG": " INFO "}, 1),
        ({"GLOG_log_dir": "/nowhere/at/all"}, 2),  # only for GLOG_logtostderr=0
        ({"GLOG_log_dir": "", "SERVOIR_LOG_DIR": ""}, 2),
        ({"MS_SUBMODULE_LOG_v": "{SERVING:0}"}, 2),  # of the C++ parts only
    ],
)
def test_levels(environment: dict[str, str], level: int) -> None:
    done = run(**environment)
    assert records(done.stderr) == ALL[level:]
    assert done.stdout == f"{level} [('GLOG_logtostderr', '1'), ('GLOG_v', '{level}')]\n"


@pytest.mark.parametrize("ours", [False, True])
def test_files(ours: bool, tmp_path: Path) -> None:
    if ours:
        done = run(SERVOIR_LOG="info", SERVOIR_LOG_DIR=str(tmp_path), SERVOIR_LOG_STDERR="error")
    else:
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


NATIVE = """
from servoir import _core, log
log.set_up()
for i in range(0, 100, 2):
    log.error('record %d', i)
    _core.log(3, 'a.cc', 7, f'record {i + 1}')
"""


@pytest.mark.parametrize(
    "environment",
    [
        {"GLOG_logtostderr": "0", "GLOG_log_dir": ".", "logger_maxBytes": "1000", "logger_backupCount": "2"},
        {"SERVOIR_LOG_DIR": ".", "SERVOIR_LOG_MAX_BYTES": "1000", "SERVOIR_LOG_BACKUPS": "2", "logger_maxBytes": "9"},
    ],
    ids=["their-names", "our-names"],
)
def test_files_rotate(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of Python and of C++ in one file, in order; two full files are kept."""
    monkeypatch.chdir(tmp_path)
    done = run(NATIVE, **environment)
    assert done.returncode == 0, done.stderr
    files = sorted(tmp_path.iterdir(), key=lambda path: path.name)
    assert [re.sub(r"\d{2,}", "PID", file.name) for file in files] == [
        "servoir.PID.log",
        "servoir.PID.log.1",
        "servoir.PID.log.2",
    ]
    assert all(500 < file.stat().st_size <= 1000 for file in files[1:])
    assert files[0].stat().st_size <= 1000
    text = "".join(file.read_text() for file in reversed(files))
    numbers = [int(line.rsplit(" ", 1)[1]) for line in text.splitlines()]
    assert numbers == list(range(100 - len(numbers), 100))
    assert len(numbers) > 20
    assert len(done.stderr.splitlines()) == 100


FORM = re.compile(
    r"\[(?P<level>[A-Z]+)\] SERVING\((?P<pid>\d+),(?P<thread>[^)]+)\):(?P<time>[-\d:.]{27}) (?P<place>[^ :]+:\d+)\] .+"
)


def test_python_and_native_records_have_one_form() -> None:
    code = "from servoir import _core, log\nlog.warning('x')\n_core.log(2, '/some/<string>', 2, 'x')"
    lines = run(code).stderr.splitlines()
    python, native = (FORM.fullmatch(line) for line in lines)
    assert python, lines
    assert native, lines
    for part in ("level", "pid", "thread", "place"):
        assert python[part] == native[part]


@pytest.mark.parametrize(("native", "python"), [("2", 2), ("0", 2)])
def test_ours_and_the_native_level(native: str, python: int) -> None:
    """MS_SUBMODULE_LOG_v is for the native parts alone."""
    code = "from servoir import _core, log\n" + "\n".join(
        f"log.{name}('python')\n_core.log({i}, 'x', 1, 'native')"
        for i, name in enumerate(("debug", "info", "warning", "error"))
    )
    lines = run(code, MS_SUBMODULE_LOG_v=f"{{SERVING:{native}}}").stderr.splitlines()
    assert sum(line.endswith("] python") for line in lines) == 4 - python
    assert sum(line.endswith("] native") for line in lines) == 4 - int(native)


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    """Said once, and the records are not lost."""
    directory = tmp_path / "logs"
    directory.mkdir()
    code = f"import os\nfrom servoir import log\nlog.set_up()\nos.rmdir({str(directory)!r})\n"
    done = run(
        code + "log.warning('one')\nlog.warning('two')", SERVOIR_LOG_DIR=str(directory), SERVOIR_LOG_STDERR="error"
    )
    assert done.returncode == 0
    first, *rest = done.stderr.splitlines()
    assert "[ERROR]" in first
    assert "No such file or directory" in first
    assert [text for _, text in records("\n".join(rest))] == ["one", "two"]


def test_names_that_are_no_text(tmp_path: Path) -> None:
    done = run("from servoir import log\nlog.error('file \\udcff')", SERVOIR_LOG_DIR=str(tmp_path))
    (file,) = tmp_path.iterdir()
    assert records(file.read_text()) == records(done.stderr) == [("ERROR", "file \\udcff")]


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
        ({"SERVOIR_LOG_DIR": "/nowhere/at/all"}, "SERVOIR_LOG_DIR"),
        ({"SERVOIR_LOG_STDERR": "1"}, "SERVOIR_LOG_STDERR"),
        ({"SERVOIR_LOG_MAX_BYTES": "1 MB"}, "SERVOIR_LOG_MAX_BYTES"),
        ({"SERVOIR_LOG_BACKUPS": "0"}, "SERVOIR_LOG_BACKUPS"),
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


def test_records_like_those_of_logging() -> None:
    """One mapping for named places; the traceback of an exception."""
    code = (
        "from servoir import log\nlog.error('%(a)s and %(b)d', {'a': 1, 'b': 2})\nlog.error('%s', {})\n"
        "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n"
        "    log.error('oh', exc_info=True)\n    log.error('ah', exc_info=error)\n"
        "log.error('nothing', exc_info=True)"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr
    texts = [match[1] for match in re.finditer(r"<string>:\d+\] (.*)", done.stderr)]
    assert texts == ["1 and 2", "{}", "oh", "ah", "nothing"]
    assert done.stderr.count("ZeroDivisionError: division by zero") == 2


@pytest.mark.parametrize("call", ["'%d', 'x'", "'no place', 1", "'%s %s', 1", "'%(a)s', {'b': 1}", "'100 %', 1"])
def test_arguments_that_do_not_fit_are_shown_and_do_no_harm(call: str) -> None:
    done = run(f"from servoir import log\nlog.error({call})\nprint('alive')")
    assert done.stdout == "alive\n"
    assert "do not fit the text" in done.stderr
    ((level, text),) = records(done.stderr)
    assert level == "ERROR"
    assert text.startswith(call.split("'")[1])
