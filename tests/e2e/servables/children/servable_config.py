"""Stages and a model that start processes of their own."""

import concurrent.futures
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import numpy as np
from servoir.server import register


def square(n):
    return n * n


def ended_by(number, start, **keywords):
    """The exit code of a child of multiprocessing that sleeps and is sent a signal."""
    process = multiprocessing.get_context(start).Process(target=time.sleep, args=(60,), **keywords)
    process.start()
    os.kill(process.pid, number)
    process.join()
    return process.exitcode


def nap(ready):
    ready.set()
    time.sleep(60)


def interrupted():
    """The exit code of a child that gets SIGINT while it sleeps."""
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=nap, args=(ready,))
    process.start()
    ready.wait()
    os.kill(process.pid, signal.SIGINT)
    process.join()
    return process.exitcode


def forked(child):
    """The exit code of a bare fork, in which `child` is called and what it returns is returned."""
    pid = os.fork()
    if not pid:
        return child()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def fail():
    raise ValueError("in the child")


def ask_the_model():
    """What a child gets that calls the model."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            doubled.call(np.ones(1, np.float32))
        except RuntimeError as error:
            os.write(writing, str(error).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    return os.read(reading, 4096).decode()


def program(**keywords):
    process = subprocess.Popen(["sleep", "60"], **keywords)
    process.terminate()
    return process.wait()


def pool(start):
    with multiprocessing.get_context(start).Pool(2) as workers:
        return sum(workers.map(square, range(5)))


def executor(start):
    with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context(start)) as workers:
        return sum(workers.map(square, range(5)))


def handlers():
    """What a child finds: of SIGTERM, of SIGINT, and of the descriptor that signals are written to."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        found = (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), signal.set_wakeup_fd(-1))
        os.write(writing, repr(found == (signal.SIG_DFL, signal.default_int_handler, -1)).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    return os.read(reading, 100).decode()


def sockets(links):
    return repr([link for link in links if link.startswith("socket:")])


def descriptors():
    """The sockets that a child has: all would be the worker's."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
        os.write(writing, sockets(os.readlink(link) for link in links if os.path.islink(link)).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    return os.read(reading, 4096).decode()


def descriptors_of_a_program():
    """The same of a program that is run with all that can be inherited."""
    command = ["ls", "-l", "/proc/self/fd"]
    listed = subprocess.run(command, close_fds=False, capture_output=True, text=True, check=True).stdout
    return sockets(line.rpartition("-> ")[2] for line in listed.splitlines())


CASES = {
    "terminated": lambda: ended_by(signal.SIGTERM, "fork"),
    "interrupted": interrupted,
    "daemon": lambda: ended_by(signal.SIGTERM, "fork", daemon=True),
    "spawned": lambda: ended_by(signal.SIGTERM, "spawn"),
    "pool": lambda: pool("fork"),
    "pool of forkserver": lambda: pool("forkserver"),
    "executor": lambda: executor("fork"),
    "returns": lambda: forked(lambda: -1),
    "raises": lambda: forked(fail),
    "exits": lambda: forked(lambda: sys.exit(7)),
    "exits with a text": lambda: forked(lambda: sys.exit("enough")),
    "program": program,
    "program after a hook": lambda: program(preexec_fn=lambda: None),
    "model call": ask_the_model,
    "handlers": handlers,
    "descriptors": descriptors,
    "descriptors of a program": descriptors_of_a_program,
}


def run(case):
    return str(CASES[case]())


def run_batch(instances):
    return [run(case) for (case,) in instances]


def run_generator(instances):
    for (case,) in instances:
        yield run(case)


class Doubled:
    """In the worker's thread for models; 2.0 where a process that was to end has ended."""

    inputs = outputs = [{"name": "x", "dtype": "float32", "shape": [-1, 1]}]

    def execute(self, inputs):
        (x,) = inputs
        if (x == 1).all():
            return [2 * x]
        assert program() == -signal.SIGTERM
        assert ended_by(signal.SIGTERM, "fork") == -signal.SIGTERM
        assert forked(fail) == 1
        status = forked(lambda: None)  # the child returns here as well
        assert status in (None, 0)
        return [2 * x]


doubled = register.declare_model((), backend=Doubled, trial=False)


@register.register_method(output_names=["y"])
def case(name):
    return register.add_stage(run, name, outputs_count=1)


@register.register_method(output_names=["y"])
def batched(name):
    return register.add_stage(run_batch, name, outputs_count=1, batch_size=4)


@register.register_method(output_names=["y"])
def generated(name):
    return register.add_stage(run_generator, name, outputs_count=1, batch_size=4)


@register.register_method(output_names=["y"])
def in_a_model(x):
    return register.add_stage(doubled, x, outputs_count=1)
