"""ServableStartConfig and SSLConfig: what they take and what they refuse."""

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


REFUSED: list[tuple[str, Any, str, str]] = [
    # parameter, bad value, what the text says was wrong, what it says would be right
    ("servable_directory", 5, "5 of type int", "a str"),
    ("servable_directory", None, "None of type NoneType", "a str"),
    ("servable_directory", b"/models", "type bytes", "a str"),
    ("servable_directory", Path("/models"), "type PosixPath", "a str"),
    ("servable_directory", "", "not empty", "a str"),
    ("servable_directory", "mod\0els", "null", "the path of a directory"),
    ("servable_directory", "mod\udfffels", "surrogates", "the path of a directory"),
    ("servable_name", False, "False of type bool", "a str"),
    ("servable_name", 1, "1 of type int", "a str"),
    ("servable_name", "", "not empty", "a str"),
    ("version_number", True, "True of type bool", "an int >= 0"),
    ("version_number", "1", "'1' of type str", "an int >= 0"),
    ("version_number", 1.0, "1.0 of type float", "an int >= 0"),
    ("version_number", -1, "is -1", "an int >= 0"),
    ("num_parallel_workers", -1, "is -1", "an int in 0…64"),
    ("num_parallel_workers", 65, "is 65", "an int in 0…64"),
    ("num_parallel_workers", True, "True of type bool", "an int in 0…64"),
    ("num_parallel_workers", "2", "'2' of type str", "an int in 0…64"),
    ("dec_key", "k" * 16, "another type", "None or bytes"),
    ("dec_key", bytearray(16), "another type", "None or bytes"),
    ("dec_key", b"", "has 0", "16, 24 or 32 bytes"),
    ("dec_key", b"k" * 15, "has 15", "16, 24 or 32 bytes"),
    ("dec_mode", "aes-gcm", "'aes-gcm'", "AES-GCM, AES-CBC"),
    ("dec_mode", None, "None of type NoneType", "a str"),
    ("device_ids", "1", "'1' of type str", "int"),
    ("device_ids", -1, "is -1", "an int >= 0"),
    ("device_ids", True, "True of type bool", "an int >= 0"),
    ("device_ids", [0, 1, 0], "has 0 more than once", "device_ids"),
    ("device_ids", [0, False], "False of type bool", "an int >= 0"),
    ("device_ids", (0, -2), "is -2", "an int >= 0"),
    ("device_ids", {0, 1}, "type set", "int"),
    ("device_type", "", "not empty", "a str"),
    ("device_type", 0, "0 of type int", "a str"),
    ("device_type", "TPU", "'TPU'", "Ascend, GPU, CPU, None"),
]


@pytest.mark.parametrize(
    ("parameter", "value", "wrong", "right"), REFUSED, ids=[f"{row[0]}={row[1]!a:.20}" for row in REFUSED]
)
def test_config_refuses(parameter: str, value: Any, wrong: str, right: str) -> None:
    arguments = {"servable_directory": "/models", "servable_name": "add", parameter: value}
    with pytest.raises(RuntimeError) as error:
        server.ServableStartConfig(**arguments)
    text = str(error.value)
    assert f"'{parameter}" in text
    assert wrong in text
    assert right in text


def test_config_checks_in_the_order_of_the_contract() -> None:
    bad: dict[str, Any] = {
        "servable_directory": 1,
        "servable_name": 1,
        "version_number": -1,
        "num_parallel_workers": 65,
        "dec_key": b"",
        "dec_mode": "DES",
        "device_ids": -1,
        "device_type": "TPU",
    }
    good: dict[str, Any] = {
        "servable_directory": "/models",
        "servable_name": "add",
        "version_number": 1,
        "num_parallel_workers": 1,
        "dec_key": None,
        "dec_mode": "AES-CBC",
        "device_ids": 1,
        "device_type": "cpu",
    }
    arguments = dict(bad)
    for parameter in bad:
        with pytest.raises(RuntimeError, match=f"Parameter '{parameter}'"):
            server.ServableStartConfig(**arguments)
        arguments[parameter] = good[parameter]
    server.ServableStartConfig(**arguments)


@pytest.mark.parametrize("key", [None, b"k" * 16, b"k" * 24, b"k" * 32])
def test_config_takes_keys_of_the_three_lengths(key: bytes | None) -> None:
    assert server.ServableStartConfig("/models", "add", dec_key=key).dec_key == key


@pytest.mark.parametrize(
    ("given", "shown"), [(None, None), ("Ascend", "ascend"), ("gpu", "gpu"), ("cPU", "cpu"), ("NONE", "none")]
)
def test_config_takes_device_types_in_any_case_and_shows_lower_case(given: str | None, shown: str | None) -> None:
    assert server.ServableStartConfig("/models", "add", device_type=given).device_type == shown


@pytest.mark.parametrize(("given", "shown"), [(None, ()), (3, (3,)), ([2, 0], (2, 0)), ((0,), (0,)), ([], ())])
def test_config_shows_device_ids_as_a_tuple(given: Any, shown: tuple[int, ...]) -> None:
    assert server.ServableStartConfig("/models", "add", device_ids=given).device_ids == shown


@pytest.mark.parametrize(
    ("device_ids", "given", "shown"), [(None, 0, 1), ((), 0, 1), (None, 64, 64), (0, 0, 0), ((0, 1), 1, 1)]
)
def test_config_makes_0_parallel_workers_1_without_device_ids(device_ids: Any, given: int, shown: int) -> None:
    config = server.ServableStartConfig("/models", "add", device_ids=device_ids, num_parallel_workers=given)
    assert config.num_parallel_workers == shown


@pytest.mark.parametrize(
    "name",
    [
        "servable_directory",
        "servable_name",
        "version_number",
        "device_type",
        "device_ids",
        "num_parallel_workers",
        "dec_key",
        "dec_mode",
    ],
)
def test_config_properties_are_read_only(name: str) -> None:
    config = server.ServableStartConfig("/models", "add")
    with pytest.raises(AttributeError):
        setattr(config, name, getattr(config, name))


def test_config_does_not_ask_the_disk_for_the_servable(tmp_path: Path) -> None:
    config = server.ServableStartConfig(str(tmp_path / "nowhere"), "add", version_number=7)
    assert config.servable_directory == str(tmp_path / "nowhere")


# ---- SSLConfig


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
