"""Options of a model: those of its Context, and those of its config_file.

A config_file is a JSON object of strings, numbers and booleans: properties of the runtime in its own words
({"NUM_STREAMS": 2} for OpenVINO, {"session.intra_op.allow_spinning": "1"} for ONNX Runtime). What the Context says
wins. For backends whose files may not say it, "inputs" and "outputs" describe the model, see servable/ports.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from servoir.errors import BackendError
from servoir.servable.ports import read_ports
from servoir.servable.spec import Port

_DESCRIPTIONS = ("inputs", "outputs")


def read_options(options: Mapping[str, str], *, describes: bool = False) -> dict[str, str]:
    """The options with those of the file that `config_file` names in its place. `describes`: the file may have "inputs"
    and "outputs", which are left out here."""
    given = dict(options)
    path = given.pop("config_file", None)
    if path is None:
        return given
    content = _read_file(path)
    if describes:
        content = {key: value for key, value in content.items() if key not in _DESCRIPTIONS}
    if not all(isinstance(value, str | int | float) for value in content.values()):
        raise BackendError(
            f"the config_file '{path}' should be a JSON object of strings, numbers and booleans"
            f"{', with lists only as inputs and outputs' if describes else ''}"
        )
    return {**{key: _text(value) for key, value in content.items()}, **given}


def described_ports(options: Mapping[str, str], side: str) -> list[Port] | None:
    """What the config_file says of the model's "inputs" or "outputs"; None where it says nothing."""
    path = options.get("config_file")
    content = {} if path is None else _read_file(path)
    if side not in content:
        return None
    ports, wrong = read_ports(content[side], side)
    if wrong:
        raise BackendError(f"the config_file '{path}': {'; '.join(wrong)}")
    return ports


def _read_file(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError) as error:
        raise BackendError(f"the config_file '{path}' cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise BackendError(f"the config_file '{path}' should be a JSON object of strings, numbers and booleans")
    return content


def _text(value: str | float) -> str:
    if isinstance(value, bool):
        return "YES" if value else "NO"
    return str(value)
