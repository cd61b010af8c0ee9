"""Signals to the server's process: real processes on a fake core."""

from __future__ import annotations

import os
import signal
import time

import pytest
from support.fake_core_scripts import Run

# The file comes when the interpreter has begun to wait for its threads.
SERVE_AND_END = """
    import threading

    def tell():
        threading.main_thread().join()
        open("ready", "w")

    server.start_servables(config(device_ids=(0, 1)))
    threading.Thread(target=tell, daemon=True).start()
"""


SERVE_AND_LISTEN = """
    server.start_servables(config())
    server.start_grpc_server("127.0.0.1:5500")
    open("ready", "w")
"""


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
        if sys.version_info < (3, 13):  # later versions do this in C, where no handler runs in between
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


def test_the_steps_of_the_end(run: Run) -> None:
    """Requests first: the workers are needed until nobody waits for an answer."""
    script = run(SERVE_AND_LISTEN)
    script.await_file("ready")
    script.order("asked", "")
    os.kill(script.pid, signal.SIGTERM)
    script.wait("drain")
    assert not script.records("close_doors")
    (script.work / "asked").unlink()
    assert script.end()[0] == 0
    steps = ["announce_end", "drain", "close_doors", "stop", "worker_stop"]
    taken = dict.fromkeys(record[0] for record in script.records() if record[0] in steps)
    assert list(taken) == steps


def test_the_grace_and_the_delay_are_settings(run: Run) -> None:
    script = run(SERVE_AND_LISTEN, SERVOIR_STOP_GRACE="0", SERVOIR_DRAIN_DELAY="1")
    script.await_file("ready")
    script.order("asked", "")
    sent = time.monotonic()
    os.kill(script.pid, signal.SIGTERM)
    status, _, err = script.end()
    assert status == 0
    assert time.monotonic() - sent >= 1
    assert "1 connections still wait for answers after 0 s; their requests are refused" in err


def test_a_second_signal_does_not_wait_for_requests(run: Run) -> None:
    script = run(SERVE_AND_LISTEN, SERVOIR_DRAIN_DELAY="60")
    script.await_file("ready")
    script.order("asked", "")
    os.kill(script.pid, signal.SIGTERM)
    script.wait("announce_end")
    signalled = time.monotonic()
    os.kill(script.pid, signal.SIGTERM)
    assert script.end()[0] == 0
    assert time.monotonic() - signalled < 5


def test_a_second_signal_does_not_wait_for_the_workers(run: Run) -> None:
    script = run("server.start_servables(config())\nopen('ready', 'w')")
    script.order("deaf", "")
    script.await_file("ready")
    os.kill(script.pid, signal.SIGTERM)
    script.wait("worker_stop")
    signalled = time.monotonic()
    os.kill(script.pid, signal.SIGTERM)
    assert script.end()[0] == 0
    assert time.monotonic() - signalled < 5
