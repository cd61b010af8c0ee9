"""Encrypted models: made by `servoir encrypt`, served with dec_key and dec_mode."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from servoir.client import Client
from support.models import exact_models
from support.processes import processes_with, wait_until
from support.scripts import RunScript, ServerScript

KEY = secrets.token_bytes(32)
CONFIG = """
from servoir.server import register

first = register.declare_model("fixed.onnx", "ONNX", backend="{first}")
second = register.declare_model("dynamic.onnx.enc", backend="onnxruntime")

@register.register_method(output_names=["y"])
def run_first(x):
    y, total = register.add_stage(first, x, outputs_count=2)
    return y

def call_second(x):
    return second.call(x)[0]

@register.register_method(output_names=["y"])
def run_second(x):
    return register.add_stage(call_second, x, outputs_count=1)
"""


def encrypt(model: Path, key: bytes, mode: str, out: Path) -> None:
    """By the command, with a key file of raw bytes; the plain file is removed."""
    key_file = model.parent / "key"
    key_file.write_bytes(key)
    command = [sys.executable, "-m", "servoir", "encrypt", str(model), "--key-file", str(key_file), "--mode", mode]
    done = subprocess.run([*command, "-o", str(out)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    key_file.unlink()
    model.unlink()


def make_servable(directory: Path, mode: str, first: str = "openvino", key: bytes = KEY) -> None:
    plain = directory / "plain"
    exact_models.make(plain)
    version = directory / "models" / "s" / "1"
    version.mkdir(parents=True)
    encrypt(plain / "1" / "fixed.onnx", key, mode, version / "fixed.onnx")
    encrypt(plain / "1" / "dynamic.onnx", key, mode, version / "dynamic.onnx.enc")
    (version.parent / "servable_config.py").write_text(CONFIG.format(first=first))


@pytest.fixture(scope="module", params=["AES-GCM", "AES-CBC"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerScript]:
    work = tmp_path_factory.mktemp("encrypted")
    make_servable(work, request.param)
    # The key is in the script, which a real one would not do either: here nothing else may have it.
    script = ServerScript(
        work,
        f"""
        server.start_servables(config(
            device_ids=0, num_parallel_workers=2, dec_key={KEY!r}, dec_mode={request.param!r}))
        server.start_grpc_server(GRPC)
        server.start_restful_server(REST)
        """,
        {},
    )
    try:
        script.ready()
        yield script
    finally:
        script.kill()


def check_answers(server: ServerScript) -> None:
    x = np.arange(16, dtype=np.float32)
    for method in ("run_first", "run_second"):
        (answer,) = Client(server.grpc, "s", method).infer({"x": x})
        assert answer["y"].tolist() == exact_models.expected(x)[0].tolist(), method


def test_encrypted_models_are_served_by_each_backend(server: ServerScript) -> None:
    check_answers(server)


def test_the_key_is_neither_in_command_lines_nor_in_environments_nor_in_logs(server: ServerScript) -> None:
    forms = [KEY, KEY.hex().encode(), repr(KEY)[2:-1].encode()]
    processes = processes_with(server.mark)
    assert len(processes) == 3
    for pid in processes:
        for place in ("cmdline", "environ"):
            content = Path(f"/proc/{pid}/{place}").read_bytes()
            assert not [form for form in forms if form in content], f"{place} of {pid}"
    logs = list((server.work / "serving_logs").glob("*.log"))
    assert len(logs) == 2
    for log in logs:
        assert not [form for form in forms if form in log.read_bytes()]


def pieces(file: Path) -> Iterator[bytes]:
    """The content without the holes, of which the arena has many."""
    with file.open("rb", buffering=0) as opened:
        end = 0
        with contextlib.suppress(OSError):  # nothing but a hole comes any more
            while True:
                start = os.lseek(opened.fileno(), end, os.SEEK_DATA)
                end = os.lseek(opened.fileno(), start, os.SEEK_HOLE)
                yield os.pread(opened.fileno(), end - start, start)


def test_nothing_decrypted_comes_to_lie_in_a_file(server: ServerScript, tmp_path: Path) -> None:
    """Not in the server's directory, and in no file that a worker has open, memory files included."""
    weights = exact_models.WEIGHTS.tobytes()[:256]
    exact_models.write(tmp_path / "plain.onnx", 4)
    assert any(weights in piece for piece in pieces(tmp_path / "plain.onnx"))  # so it would be noticed
    files = [path for path in server.work.rglob("*") if path.is_file()]
    for pid in server.workers():
        files += [Path(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
    looked_at = 0
    for file in files:
        if file.is_file():
            looked_at += 1
            for piece in pieces(file):
                assert weights not in piece, file
    assert looked_at > 4


def test_a_worker_that_is_started_again_has_the_key(server: ServerScript) -> None:
    check_answers(server)
    workers = set(server.workers())
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    wait_until(lambda: len(set(server.workers()) - workers) == len(workers), 10, "new workers")

    def serves() -> bool:
        (answer,) = [Client(server.grpc, "s", "run_second").infer({"x": np.ones(16, np.float32)})]
        return isinstance(answer, list)

    wait_until(serves, 10, "answers of the new workers")
    check_answers(server)


@pytest.fixture(scope="module")
def refusals(run: RunScript, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What start_servables says, one start after the other."""
    work = tmp_path_factory.mktemp("refused")
    make_servable(work, "AES-GCM", "onnxruntime")
    version = work / "models" / "s" / "1"
    code = f"""
        import shutil
        key, file = {KEY!r}, {str(version / "fixed.onnx")!r}
        whole = open(file, "rb").read()

        def write(data):
            with open(file, "wb") as opened:
                opened.write(data)

        refused(server.start_servables, config())
        refused(server.start_servables, config(dec_key=bytes(32)))
        refused(server.start_servables, config(dec_key=key, dec_mode="AES-CBC"))
        write(whole[:-1])
        refused(server.start_servables, config(dec_key=key))
        write(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
        refused(server.start_servables, config(dec_key=key))
        write({onnx_bytes(work)!r})
        refused(server.start_servables, config(dec_key=key))
        write(whole)
        refused(server.start_servables, [config(dec_key=key), config(dec_key=bytes(32))])
        refused(server.start_servables, config(dec_key=key))
        server.stop()
        """
    script = run(code, {}, directory=work)
    status, lines = script.end(40)
    assert status == 0, script.log()
    return [line for line in lines if line.startswith(("refused:", "accepted"))]


def onnx_bytes(work: Path) -> bytes:
    path = work / "another" / "model.onnx"
    exact_models.write(path, 4)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, ["fixed.onnx' is encrypted (AES-GCM)", "give its key as 'dec_key'"]),
        (1, ["fixed.onnx' was encrypted with another key", "the key is wrong"]),
        (2, ["is encrypted with AES-GCM, but 'dec_mode' is 'AES-CBC'; it should be 'AES-GCM'"]),
        (3, ["fixed.onnx' is truncated"]),
        (4, ["fixed.onnx' was changed after it was encrypted"]),
        (5, ["fixed.onnx' is not encrypted", "encrypt it, or leave out 'dec_key'"]),
        (6, ["Servable 's', version 1", "several configs whose 'dec_key' differ"]),
    ],
    ids=["no key", "wrong key", "other mode", "truncated", "changed", "plain file", "two keys"],
)
def test_the_start_says_why_a_model_cannot_be_decrypted(refusals: list[str], number: int, words: list[str]) -> None:
    assert refusals[number].startswith("refused:")
    for word in words:
        assert word in refusals[number]
    assert KEY.hex() not in refusals[number]


def test_the_same_script_starts_when_all_is_right(refusals: list[str]) -> None:
    assert refusals[7:] == ["accepted"]


def test_a_key_for_a_servable_without_models_does_no_harm(run: RunScript) -> None:
    script = run("refused(server.start_servables, config(dec_key=b'k' * 16)); server.stop()")
    status, lines = script.end()
    assert status == 0, script.log()
    assert "accepted" in lines
