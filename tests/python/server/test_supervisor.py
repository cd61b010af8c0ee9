"""Start, watch, restart and end of workers: real processes on a fake core (api.md, sections 2 and 12)."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., Any]

SERVE = """
    server.start_servables(config(device_ids=(0, 1)))
    open("ready", "w")
"""
# The file comes when the interpreter has begun to wait for its threads.
SERVE_AND_END = """
    import threading

    def tell():
        threading.main_thread().join()
        open("ready", "w")

    server.start_servables(config(device_ids=(0, 1)))
    threading.Thread(target=tell, daemon=True).start()
"""


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


def test_the_script_goes_on_after_its_end_until_a_signal(run: Run) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        script = run(SERVE_AND_END, servables={}) if number == signal.SIGINT else run(SERVE_AND_END)
        script.await_file("ready")
        (script.work / "ready").unlink()
        workers = script.workers()
        assert len(workers) == 2
        os.kill(script.pid, number)
        status, _, err = script.end()
        assert (status, err) == (0, "")
        assert not any(script.is_alive(pid) for pid in workers)


def test_a_signal_in_the_middle_of_the_interpreters_end(run: Run) -> None:
    """While the main thread holds a lock of the threading module."""
    script = run("""
        import threading

        class Lock:
            # threading's own; a signal comes as soon as the main thread has it at the end.
            def __init__(self, lock):
                self.lock = lock

            def __enter__(self):
                self.lock.acquire()
                if threading._SHUTTING_DOWN and threading.current_thread() is threading.main_thread():
                    if not os.path.exists("sent"):
                        open("sent", "w").close()
                        os.kill(os.getpid(), signal.SIGTERM)

            def __exit__(self, *_):
                self.lock.release()

        server.start_servables(config(device_ids=(0, 1)))
        if sys.version_info < (3, 13):  # later ones do this in C, where no handler comes in between
            threading._shutdown_locks_lock = Lock(threading._shutdown_locks_lock)
        else:
            os.kill(os.getpid(), signal.SIGTERM)
    """)
    status, _, err = script.end(10)
    assert (status, err) == (0, "")


def test_signals_while_the_script_still_runs(run: Run) -> None:
    code = """
        server.start_servables(config())
        try:
            open("ready", "w")
            while True:
                time.sleep(60)
        finally:
            print("cleaned up")
    """
    script = run(code)
    script.await_file("ready")
    os.kill(script.pid, signal.SIGTERM)
    status, out, _ = script.end()
    assert status == 0
    (script.work / "ready").unlink()
    assert out.endswith("cleaned up\n")
    script = run(code.replace("finally:", "except KeyboardInterrupt:"), servables={})
    script.await_file("ready")
    os.kill(script.pid, signal.SIGINT)
    status, out, err = script.end()
    assert (status, err) == (0, "")
    assert out.endswith("cleaned up\n")


def test_handlers_of_the_user_stay(run: Run) -> None:
    script = run("""
        def handler(number, frame):
            print("mine")
            server.stop()
        signal.signal(signal.SIGTERM, handler)
        server.start_servables(config())
        assert signal.getsignal(signal.SIGTERM) is handler
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        open("ready", "w")
    """)
    script.await_file("ready")
    os.kill(script.pid, signal.SIGTERM)
    status, out, _ = script.end()
    assert (status, out.splitlines()[-1]) == (0, "mine")


def test_stop_takes_the_handlers_away(run: Run) -> None:
    script = run("""
        before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
        server.start_servables(config())
        server.stop()
        assert before == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    """)
    assert script.end()[0] == 0


def test_everything_can_be_started_again(run: Run) -> None:
    script = run("""
        import gc
        gc.disable()
        counts = []
        for i in range(3):
            server.start_grpc_server("127.0.0.1:5500")
            server.start_restful_server("127.0.0.1:1500", max_msg_mb_size=7)
            server.start_servables(config())
            server.stop()
            server.stop()
            counts.append(len(os.listdir("/proc/self/fd")))
        assert len(set(counts)) == 1, counts  # nothing is kept
    """)
    status, out, err = script.end()
    assert (status, err) == (0, "")
    assert len(script.records("server")) == len(script.records("stop")) == len(script.records("publish")) == 3
    assert script.records("listen")[:2] == [
        ["listen", "127.0.0.1:5500", "grpc", 100 << 20],
        ["listen", "127.0.0.1:1500", "rest", 7 << 20],
    ]
    assert out.count("start success, listening on 127.0.0.1:5500\n") == 3
    assert out.count("start success, listening on 127.0.0.1:1500\n") == 3


def test_a_script_with_a_server_only_ends(run: Run) -> None:
    script = run("""server.start_grpc_server("127.0.0.1:5500")""")
    assert script.end()[0] == 0
    assert [record[0] for record in script.records()] == ["server", "listen", "stop"]


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
        assert any("NameError" in text for text in logs), logs  # the first to fail ends the other one
        assert "worker/load.py" not in out  # the traceback is the user's


def test_a_failure_is_shown_with_the_users_lines_only(run: Run) -> None:
    """Of the configuration and of the script; not the way through our package, and not everything twice."""
    config = (
        "from servoir.server import register\n\ndef twice(x): return x\n\n@register.register_method('y')\n"
        "def m(x):\n    return register.add_stage(twice, x, x, outputs_count=1)\n"
    )
    script = run("server.start_servables(config())", servables={"s": config})
    status, _, err = script.end()
    assert status == 1
    assert err.count("Function 'twice' has 1 parameters") == 3  # the log; the exception, above and below the lines
    assert err.count("Traceback") == 2
    assert err.count('servable_config.py", line 7, in m') == 1
    assert err.count("start_servables(config())") == 1
    frames = [line for line in err.splitlines() if line.lstrip().startswith("File ")]
    assert not [line for line in frames if "/register/" in line or "supervisor" in line or "/start.py" in line], frames


def test_a_model_that_no_backend_opens_is_shown_without_our_own_lines(run: Run) -> None:
    config = (
        "from servoir.server import register\nmodel = register.declare_model('net.onnx', backend='openvin')\n"
        "@register.register_method('y')\ndef m(x):\n    return register.add_stage(model, x, outputs_count=1)\n"
    )
    script = run(
        """
        os.mkdir("models/s/1")
        open("models/s/1/net.onnx", "w").write("no model")
        server.start_servables(config())
        """,
        servables={"s": config},
    )
    status, _, err = script.end()
    assert status == 1
    assert "backends/__init__.py" not in err
    assert "servoir.backends.model.BackendError" not in err
    assert err.count("openvin'") == 2


@pytest.mark.parametrize(
    ("variable", "value", "right"),
    [
        ("SERVOIR_ARENA_LIMIT_MB", "much", "a number >= 1"),
        ("SERVOIR_IO_THREADS", "0", "a number >= 1"),
        ("SERVOIR_BACKEND_THREADS", "-2", "a number >= 1"),
        ("SERVOIR_LOG", "loud", "warning"),
        ("GLOG_v", "5", "0…3"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_sentence(run: Run, variable: str, value: str, right: str) -> None:
    script = run("server.start_servables(config())", **{variable: value})
    status, _, err = script.end()
    assert status == 1
    assert err.count("Traceback") == 1, err
    last = err.splitlines()[-1]
    assert last.startswith(("RuntimeError: ", "ValueError: "))
    for text in (variable, value, right):
        assert text in last
    assert script.log_files() == {}, "no worker was started"


def test_a_crash_in_native_code_is_located(run: Run) -> None:
    text = "import faulthandler\n\ndef crash():\n    faulthandler._sigsegv()\n\ncrash()\n"
    script = run("server.start_servables(config())", servables={"s": text})
    status, _, err = script.end()
    assert status == 1
    assert "signal 11 (SIGSEGV)" in err
    assert 'servable_config.py", line 4 in crash' in err


def test_what_servable_config_prints_is_in_the_log_and_new_at_the_start(run: Run) -> None:
    for i in range(2):
        text = f"print('round {i}')\n" if i == 0 else None
        code = "server.start_servables(config())\nserver.stop()"
        script = run(code, servables={"s": text + _config()} if text else {})
        assert script.end()[0] == 0
        assert script.log_files() == {"log_s_extra0_version1.log": "round 0\n"}


def _config() -> str:
    return "from servoir.server import register\n@register.register_method('y')\ndef m(x):\n    return x\n"


def test_the_server_process_never_imports_the_configuration(run: Run) -> None:
    script = run(
        "server.start_servables(config())\nassert 's.servable_config' not in sys.modules\nserver.stop()",
        servables={"s": "import os\nprint(os.getpid(), __name__)\n" + _config()},
    )
    assert script.end()[0] == 0
    pid, name = script.log_files()["log_s_extra0_version1.log"].split()
    assert int(pid) != script.pid
    assert name == "s.servable_config"


def test_register_is_the_same_module_for_the_configuration_and_the_worker(run: Run) -> None:
    text = "import sys\nfrom servoir import server\nassert server.register is sys.modules['servoir.server.register']\n"
    script = run("server.start_servables(config())\nserver.stop()", servables={"s": text + _config()})
    assert script.end()[0] == 0


def test_a_servable_may_be_called_like_a_module(run: Run) -> None:
    code = "server.start_servables(config('calendar'))\nserver.stop()"
    script = run(code, servables={"calendar": "from .other import value\nassert value == 5\n" + _config()})
    (script.work / "models" / "calendar" / "other.py").write_text("value = 5\n")
    assert script.end()[0] == 0, script.log_files()
    script = run("server.start_servables(config('json'))", servables={"json": _config()})
    _, _, err = script.end()
    assert "'json' is also the name of a Python module" in err


def test_a_killed_worker_is_replaced(run: Run) -> None:
    script = run(SERVE)
    script.await_file("ready")
    attached = script.wait("attach", 2)
    victim = script.workers()[0]
    (attachment,) = [record[1] for record in attached if f"worker {victim} " in record[4]]
    os.kill(victim, signal.SIGKILL)
    killed = time.monotonic()
    *_, new = script.wait("attach", 3)
    assert time.monotonic() - killed < 3
    assert script.records("detach") == [["detach", attachment, "it was ended by signal 9 (SIGKILL)"]]
    assert f"worker {victim} " not in new[4]
    assert new[2:4] == attached[0][2:4]
    assert len(script.workers()) == 2
    assert len(script.records("publish")) == 1
    # The log goes on where it ended.
    os.kill(script.pid, signal.SIGTERM)
    status, _, err = script.end()
    assert status == 0
    assert "has crashed: it was ended by signal 9 (SIGKILL)" in err
    assert "started again in 0.1 s" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_ended_from_outside_is_not_replaced(run: Run, number: int) -> None:
    script = run(SERVE)
    script.order("busy", "")
    script.await_file("ready")
    attached = script.wait("attach", 2)
    first, second = script.workers()
    os.kill(first, number)
    # It is drained first, and told to exit when it holds nothing any more.
    script.wait("drain", 10)
    assert script.workers() == [first, second]
    (attachment,) = [record[1] for record in attached if f"worker {first} " in record[4]]
    assert {record[1] for record in script.records("drain")} == {attachment}
    (script.work / "busy").unlink()
    script.wait("served")
    script.await_end_of([first], 5)
    script.wait("detach")
    assert script.workers() == [second]
    assert not script.records("stop", "withdraw")
    os.kill(second, number)
    status, _, _ = script.end(10)
    assert status == 0
    assert [record[0] for record in script.records("withdraw", "stop")] == ["withdraw", "stop"]
    assert len(script.records("attach")) == 2


def test_the_servers_stop_when_the_last_device_worker_is_gone(run: Run) -> None:
    script = run("server.start_servables(config(device_ids=0, num_parallel_workers=3))\nopen('ready', 'w')")
    script.await_file("ready")
    device, *extra = script.workers()
    assert sorted(script.log_files()) == [
        "log_s_device0_version1.log",
        "log_s_extra0_version1.log",
        "log_s_extra1_version1.log",
    ]
    os.kill(extra[0], signal.SIGTERM)
    script.wait("detach")
    assert not script.records("stop")
    os.kill(device, signal.SIGTERM)
    assert script.end(10)[0] == 0
    assert not any(script.is_alive(pid) for pid in extra)


def test_a_running_script_can_start_again_when_all_workers_have_gone(run: Run) -> None:
    script = run("""
        server.start_servables(config())
        open("ready", "w")
        deadline = time.monotonic() + 20
        from servoir.server import process
        while process.is_running() and time.monotonic() < deadline:
            time.sleep(0.01)
        server.start_servables(config())
        server.stop()
        print("again")
    """)
    script.await_file("ready")
    os.kill(script.workers()[0], signal.SIGTERM)
    status, out, err = script.end()
    assert (status, out.splitlines()[-1]) == (0, "again"), err


def test_a_worker_that_keeps_crashing_is_told_in_the_answer(run: Run) -> None:
    config = "import os\nif os.path.exists('crash'):\n    os.write(2, b'out of luck\\n')\n    os.abort()\n" + _config()
    script = run("server.start_servables(config())\nopen('ready', 'w')", servables={"s": config})
    script.await_file("ready")
    (script.work / "crash").touch()
    os.kill(script.workers()[0], signal.SIGKILL)
    ((_, _, reason),) = script.wait("withdraw", seconds=20)
    assert "keep crashing" in reason
    assert "signal 6 (SIGABRT)" in reason
    assert "out of luck" in reason
    assert script.process.poll() is None
    assert not script.records("stop")
    os.kill(script.pid, signal.SIGTERM)
    status, _, err = script.end()
    assert status == 0
    delays = [line.rpartition("again in ")[2] for line in err.splitlines() if "It is started again" in line]
    assert delays == ["0.1 s", "0.2 s", "0.4 s", "0.8 s", "30.0 s"]


def test_answers_between_crashes_keep_the_restarts_quick(run: Run) -> None:
    script = run("server.start_servables(config())\nopen('ready', 'w')")
    script.await_file("ready")
    for i in range(1, 7):
        script.wait("attach", i)
        script.order("answered", str(100 * i))
        os.kill(script.workers()[0], signal.SIGKILL)
    script.wait("attach", 7)
    assert not script.records("withdraw")
    os.kill(script.pid, signal.SIGTERM)
    assert script.end()[2].count("started again in 0.1 s") == 6


def test_a_worker_that_breaks_the_channel_is_ended_and_replaced(run: Run) -> None:
    script = run(SERVE)
    script.await_file("ready")
    attached = script.wait("attach", 2)
    attachment, name = attached[0][1], attached[0][4]
    script.order("lane_failure", json.dumps([attachment, "record 5 has no end"]))
    script.wait("attach", 3)
    assert script.records("detach") == [["detach", attachment, "it broke the channel's protocol: record 5 has no end"]]
    assert not script.is_alive(int(name.split()[1]))


def test_a_worker_that_lives_but_cannot_be_reached_is_ended(run: Run) -> None:
    text = "import os, sys, time\nos.close(int(sys.argv[1].split(',')[1]))\nopen('closed', 'w')\ntime.sleep(60)\n"
    script = run("server.start_servables(config())", servables={"s": text})
    script.await_file("closed")
    (worker,) = script.workers()
    status, _, err = script.end(10)
    assert status == 1
    assert "it closed its control socket but went on" in err
    assert not script.is_alive(worker)


def test_a_configuration_that_changes_is_not_attached(run: Run) -> None:
    script = run(SERVE)
    script.await_file("ready")
    path = script.work / "models" / "s" / "servable_config.py"
    path.write_text(path.read_text().replace("def m(x)", "def renamed(x)"))
    os.kill(script.workers()[0], signal.SIGKILL)
    script.wait("add_function", 4)  # tried, refused, tried again
    assert len(script.records("attach")) == 2
    os.kill(script.pid, signal.SIGTERM)
    assert "may not change while the servable is served" in script.end()[2]


def test_another_build_is_refused(run: Run) -> None:
    script = run("server.start_servables(config())", FAKE_CORE_WORKER_VERSION="9.9.9")
    status, _, err = script.end()
    assert status == 1
    assert "its servoir has version 9.9.9, the server's has 1.2.3" in err


def test_a_killed_server_leaves_no_worker(run: Run) -> None:
    script = run(SERVE)
    script.wait("attach", 2)
    workers = script.workers()
    os.kill(script.pid, signal.SIGKILL)
    script.await_end_of(workers, 1)


def test_a_killed_server_leaves_no_worker_that_is_starting(run: Run) -> None:
    script = run(
        "server.start_servables(config())", servables={"s": "import time\nopen('here', 'w')\ntime.sleep(60)\n"}
    )
    script.await_file("here")
    workers = script.workers()
    os.kill(script.pid, signal.SIGKILL)
    script.await_end_of(workers, 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_workers_start(run: Run, number: int) -> None:
    script = run(
        "server.start_servables(config())", servables={"s": "import time\nopen('here', 'w')\ntime.sleep(60)\n"}
    )
    script.await_file("here")
    (worker,) = script.workers()
    os.kill(script.pid, number)
    status, _, err = script.end(5)
    assert status == (0 if number == signal.SIGTERM else -signal.SIGINT), err
    assert not script.is_alive(worker)


def test_a_second_signal_does_not_wait_for_the_workers(run: Run) -> None:
    script = run(
        """
        server.start_servables(config())
        from servoir.server import supervisor
        supervisor.Supervisor._tell_exit = staticmethod(lambda worker: print("told"))
        open("ready", "w")
        """,
    )
    script.await_file("ready")
    os.kill(script.pid, signal.SIGTERM)
    assert script.process.stdout is not None
    while script.process.stdout.readline() != "told\n":
        pass
    signalled = time.monotonic()
    os.kill(script.pid, signal.SIGTERM)
    assert script.end()[0] == 0
    assert time.monotonic() - signalled < 5


def test_a_forked_child_does_no_harm(run: Run) -> None:
    script = run("""
        import multiprocessing
        server.start_servables(config())

        def child():
            server.stop()
            print("child ends", flush=True)

        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join()
        print("child", process.exitcode)

        pid = os.fork()
        if not pid:
            print("other child ends", flush=True)
            sys.exit(5)
        print("other child", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

        pid = os.fork()
        if not pid:
            time.sleep(60)
        print("sleeper", pid, flush=True)
    """)
    assert script.process.stdout is not None
    lines = []
    while not lines or not lines[-1].startswith("sleeper"):
        lines.append(script.process.stdout.readline().strip())
    assert lines[1:-1] == ["child ends", "child 0", "other child ends", "other child 5"]
    sleeper = int(lines[-1].split()[1])
    assert not script.records("stop")
    (worker,) = set(script.workers()) - {sleeper}
    # The sleeping child does not keep the workers alive when the server dies.
    os.kill(script.pid, signal.SIGKILL)
    script.await_end_of([worker], 1)
    assert script.is_alive(sleeper)
    os.kill(sleeper, signal.SIGKILL)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("server.start_servables('add')", "'servable_configs"),
        ("server.start_servables([])", "'servable_configs'"),
        ("server.start_servables(config(), enable_lite=1)", "'enable_lite'"),
        ("server.start_servables(config('missing'))", "there is no directory"),
        ("server.start_servables(config(device_type='Ascend'))", "'device_type'"),
        ("server.start_servables(config(device_type='GPU', device_ids=0))", "'device_type'"),
        ("server.start_servables(config())", "already running"),
        ("server.start_grpc_server('127.0.0.1')", "'address'"),
        ("server.start_grpc_server('127.0.0.1:5501', max_msg_mb_size=0)", "'max_msg_mb_size'"),
        ("server.start_grpc_server('127.0.0.1:5501', 513)", "'max_msg_mb_size'"),
        ("server.start_grpc_server('127.0.0.1:5501', ssl_config=1)", "'ssl_config'"),
        ("server.start_grpc_server('127.0.0.1:5501', ssl_config=server.SSLConfig('c', 'k'))", "there is no such file"),
        ("server.start_restful_server('256.0.0.1:5501')", "cannot listen"),
        ("server.start_grpc_server('127.0.0.1:5501')", "gRPC server is already running"),
        ("server.start_restful_server('unix:x')", "'address'"),
    ],
)
def test_a_start_function_that_fails_stops_everything(run: Run, call: str, text: str) -> None:
    script = run(f"""
        server.start_servables(config())
        server.start_grpc_server("127.0.0.1:5500")
        try:
            {call}
        except RuntimeError as error:
            print("refused", error)
    """)
    status, out, err = script.end()
    assert status == 0, err
    assert out.splitlines()[-1].startswith("refused ")
    assert text in out
    assert len(script.records("stop")) == 1
    assert len(script.records("join")) == 1


def test_the_limit_of_requests(run: Run) -> None:
    script = run("""
        server.master.context.set_max_enqueued_requests(7)
        server.start_grpc_server("127.0.0.1:5500")
        server.master.context.set_max_enqueued_requests(8)
        for bad in (0, -1, True, "1", None, 1.5):
            try:
                server.master.context.set_max_enqueued_requests(bad)
                raise SystemExit(1)
            except RuntimeError as error:
                assert "'max_enqueued_requests'" in str(error)
    """)
    assert script.end()[0] == 0
    assert script.records("max_enqueued") == [["max_enqueued", 7], ["max_enqueued", 8]]


def test_the_distributed_functions_say_that_they_are_not_there(run: Run) -> None:
    script = run("""
        for call in (lambda: server.distributed.declare_servable(8, 1), server.distributed.start_servable,
                     server.distributed.startup_agents):
            try:
                call()
                raise SystemExit(1)
            except RuntimeError as error:
                assert "not available" in str(error)
    """)
    assert script.end()[0] == 0


def test_a_worker_by_hand_says_who_starts_it(run: Run) -> None:
    script = run("import subprocess; sys.exit(subprocess.run([sys.executable, '-m', 'servoir.worker']).returncode)")
    status, _, err = script.end()
    assert status == 1
    assert "not by hand" in err


def test_the_import_of_the_server_is_light(run: Run) -> None:
    script = run("""
        heavy = {"numpy", "grpc", "servoir._core", "servoir.backends"} & set(sys.modules)
        assert not heavy, heavy
    """)
    assert script.end()[0] == 0
