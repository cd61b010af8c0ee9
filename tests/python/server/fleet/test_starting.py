"""Workers that start, or fail to: real processes on a fake core."""

from __future__ import annotations

import pytest
from support.fake_core_scripts import Run


def test_workers_start_and_are_stopped(run: Run) -> None:
    script = run("""
        server.start_servables(config(device_ids=(0, 1)))
        while not os.path.exists("go on"):
            time.sleep(0.005)
        server.stop()
        print("stopped")
    """)
    script.wait("serve_functions", 2)
    (script.work / "go on").touch()
    status, out, err = script.end()
    assert (status, err) == (0, "")
    assert out.splitlines() == ["Servable 's' version 1: 2 workers", "stopped"]
    ((_, number, spec),) = script.records("publish")
    assert [callee["name"] for callee in spec["callees"]] == ["f"]
    assert [(record[2], record[3]) for record in script.records("attach")] == [(number, [0]), (number, [0])]
    assert sorted(record[1] for record in script.records("serve_functions")) == ["0", "1"]
    assert len(script.records("served")) == 2
    assert len(script.records("detach")) == 2
    assert sorted(script.log_files()) == ["log_s_device0_version1.log", "log_s_device1_version1.log"]
    assert (script.work / "unix_socket_files").is_dir()


@pytest.mark.parametrize(
    ("config", "texts"),
    [
        ("import math\nthis_name_is_missing\n", ["NameError: name 'this_name_is_missing' is not defined", "line 2"]),
        ("raise SystemExit('enough')", ["SystemExit: enough"]),
        ("def broken(:\n", ["SyntaxError"]),
        ("import os; print('last words'); os.kill(os.getpid(), 9)", ["signal 9 (SIGKILL)", "last words"]),
        ("import os; os._exit(7)", ["code 7", "wrote nothing"]),
        ("from servoir.server import register\n", ["servable 's' has no method"]),
        (
            "from servoir.server import register\nregister.declare_model('net.onnx')\n"
            "@register.register_method('y')\ndef m(x):\n    return x\n",
            ["there is no valid version directory"],
        ),
    ],
    ids=["exception", "exit", "syntax", "killed", "ended", "nothing", "no version"],
)
def test_a_worker_that_fails_ends_everything(run: Run, config: str, texts: list[str]) -> None:
    script = run(
        """
        server.start_grpc_server("127.0.0.1:5500")
        try:
            server.start_servables([config("good"), config("s", num_parallel_workers=2)])
        except RuntimeError as error:
            print(error)
            server.start_grpc_server("127.0.0.1:5500")
            print("again")
        """,
        servables={
            "s": config,
            "good": "from servoir.server import register\n@register.register_method('y')\ndef m(x): return x",
        },
        GLOG_v="3",
    )
    status, out, err = script.end()
    assert status == 0, err
    for text in (*texts, "Servable 's' cannot be started: worker ", "again"):
        assert text in out
    assert "[ERROR]" in err
    assert not script.workers()
    if "missing" in config:
        logs = [text for name, text in script.log_files().items() if name.startswith("log_s_extra")]
        assert any("NameError" in text for text in logs), logs  # the first worker that fails ends the other
        assert "worker/load.py" not in out  # the traceback is the user's


def test_a_crash_in_native_code_is_located(run: Run) -> None:
    text = "import faulthandler\n\ndef crash():\n    faulthandler._sigsegv()\n\ncrash()\n"
    script = run("server.start_servables(config())", servables={"s": text})
    status, _, err = script.end()
    assert status == 1
    assert "signal 11 (SIGSEGV)" in err
    assert 'servable_config.py", line 4 in crash' in err


def test_another_build_is_refused(run: Run) -> None:
    script = run("server.start_servables(config())", FAKE_CORE_WORKER_VERSION="9.9.9")
    status, _, err = script.end()
    assert status == 1
    assert "its servoir has version 9.9.9, the server's has 1.2.3" in err


def test_a_worker_that_lives_but_cannot_be_reached_is_ended(run: Run) -> None:
    text = "import os, sys, time\nos.close(int(sys.argv[1].split(',')[1]))\nopen('closed', 'w')\ntime.sleep(60)\n"
    script = run("server.start_servables(config())", servables={"s": text})
    script.await_file("closed")
    (worker,) = script.workers()
    status, _, err = script.end(10)
    assert status == 1
    assert "it closed its control socket but went on" in err
    assert not script.is_alive(worker)


def test_a_worker_by_hand_says_who_starts_it(run: Run) -> None:
    script = run("import subprocess; sys.exit(subprocess.run([sys.executable, '-m', 'servoir.worker']).returncode)")
    status, _, err = script.end()
    assert status == 1
    assert "not by hand" in err
