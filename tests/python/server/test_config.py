"""ServableStartConfig and SSLConfig: what they take and what they refuse (api.md, sections 2 and 3)."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from servoir import server


def test_defaults(tmp_path: Path) -> None:
    config = server.ServableStartConfig(str(tmp_path), "add")
    assert config.servable_directory == str(tmp_path)
    assert config.servable_name == "add"
    assert config.version_number == 0
    assert config.device_type is None
    assert config.device_ids == ()
    assert config.num_parallel_workers == 1
    assert config.dec_key is None
    assert config.dec_mode == "AES-GCM"


def test_everything_given() -> None:
    config = server.ServableStartConfig("/models", "add", [2, 0], 3, "Cpu", 4, b"k" * 24, "AES-CBC")
    assert (config.device_ids, config.version_number, config.device_type) == ((2, 0), 3, "cpu")
    assert (config.num_parallel_workers, config.dec_key, config.dec_mode) == (4, b"k" * 24, "AES-CBC")
    assert server.ServableStartConfig("/models", "add", device_ids=1).num_parallel_workers == 0


def test_a_relative_directory_belongs_to_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (tmp_path / "link.py").symlink_to(scripts / "serve.py")
    (scripts / "serve.py").touch()
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "link.py")])
    monkeypatch.chdir("/")
    assert server.ServableStartConfig("models", "add").servable_directory == str(scripts / "models")
    monkeypatch.setattr(sys, "argv", [os.path.join("..", scripts.name, "serve.py")])
    monkeypatch.chdir(scripts)
    assert server.ServableStartConfig(".", "add").servable_directory == str(scripts)


@pytest.mark.parametrize(
    ("parameter", "values"),
    [
        ("servable_directory", ["", None, 1, b"/models"]),
        ("servable_name", ["", None, False, 1]),
        ("version_number", [-1, True, "1", 1.0, None]),
        ("num_parallel_workers", [-1, 65, True, "1", None]),
        ("dec_key", ["k" * 16, b"", b"k" * 15, b"k" * 33, 1]),
        ("dec_mode", ["", "aes-gcm", "AES", None, 1]),
        ("device_ids", ["1", -1, [0, 0], [True], True, [0, -1], 1.0, {0}, ["0"]]),
        ("device_type", ["", "TPU", 1, False]),
    ],
)
def test_bad_arguments(parameter: str, values: list[Any]) -> None:
    for value in values:
        arguments: dict[str, Any] = {"servable_directory": "/models", "servable_name": "add"}
        with pytest.raises(RuntimeError, match=f"'{parameter}"):
            server.ServableStartConfig(**(arguments | {parameter: value}))


def test_a_key_is_never_shown() -> None:
    with pytest.raises(RuntimeError) as error:
        server.ServableStartConfig("/models", "add", dec_key="secret" * 3)  # type: ignore[arg-type]
    assert "secretsecret" not in str(error.value)


def test_certificates_of_a_server() -> None:
    config = server.SSLConfig("server.crt", "server.key", "ca.crt")
    assert (config.certificate, config.private_key, config.custom_ca) == ("server.crt", "server.key", None)
    assert server.SSLConfig("server.crt", "server.key", "ca.crt", verify_client=True).custom_ca == "ca.crt"
    assert server.SSLConfig("server.crt", "server.key", custom_ca=1).custom_ca is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "parameter"),
    [
        ({"certificate": ""}, "certificate"),
        ({"certificate": None}, "certificate"),
        ({"private_key": ""}, "private_key"),
        ({"private_key": 1}, "private_key"),
        ({"verify_client": 1}, "verify_client"),
        ({"verify_client": True}, "custom_ca"),
        ({"verify_client": True, "custom_ca": ""}, "custom_ca"),
    ],
)
def test_bad_certificates(change: dict[str, Any], parameter: str) -> None:
    with pytest.raises(RuntimeError, match=f"'{parameter}'"):
        server.SSLConfig(**({"certificate": "c", "private_key": "k"} | change))
