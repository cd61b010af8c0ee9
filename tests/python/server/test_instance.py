"""From the first start function to stop(), and what may come in between: real processes on a fake core."""

from __future__ import annotations

import os
import signal

from support.fake_core_scripts import Run
from support.processes import wait_until

SERVE = """
    server.start_servables(config(device_ids=(0, 1)))
    open("ready", "w")
"""


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
    assert [record[0] for record in script.records()] == [
        "server",
        "listen",
        "announce_end",
        "drain",
        "close_doors",
        "stop",
    ]


def test_a_running_script_can_start_again_when_all_workers_have_gone(run: Run) -> None:
    script = run("""
        server.start_servables(config())
        open("ready", "w")
        deadline = time.monotonic() + 20
        from servoir.server import instance
        while instance.existing_instance() and time.monotonic() < deadline:
            time.sleep(0.01)
        server.start_servables(config())
        server.stop()
        print("again")
    """)
    script.await_file("ready")
    os.kill(script.workers()[0], signal.SIGTERM)
    status, out, err = script.end()
    assert (status, out.splitlines()[-1]) == (0, "again"), err


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
    wait_until(lambda: script.lines and script.lines[-1].startswith("sleeper"), 10, "the last child")
    lines = list(script.lines)
    assert lines[1:-1] == ["child ends", "child 0", "other child ends", "other child 5"]
    sleeper = int(lines[-1].split()[1])
    assert not script.records("stop")
    (worker,) = set(script.workers()) - {sleeper}
    # The sleeping child does not keep the workers alive when the server dies.
    os.kill(script.pid, signal.SIGKILL)
    script.await_end_of([worker], 1)
    assert script.is_alive(sleeper)
    os.kill(sleeper, signal.SIGKILL)


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
