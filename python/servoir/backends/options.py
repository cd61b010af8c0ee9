"""Options of a model: those of its Context, and those of its config_file.

A config_file is a JSON object of strings, numbers and booleans: properties of the runtime in its own words
({"NUM_STREAMS": 2} for OpenVINO, {"session.intra_op.allow_spinning": "1"} for ONNX Runtime). What the Context says
wins.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from servoir.backends.model import BackendError


def read_options(options: Mapping[str, str]) -> dict[str, str]:
    """The options with those of the file that `config_file` names in its place."""
    given = dict(options)
    path = given.pop("config_file", None)
    return given if path is None else {**_read_file(path), **given}


def _read_file(path: str) -> dict[str, str]:
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError) as error:
        raise BackendError(f"the config_file '{path}' cannot be read as JSON: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(value, str | int | float) for value in content.values()):
        raise BackendError(f"the config_file '{path}' should be a JSON object of strings, numbers and booleans")
    return {key: _text(value) for key, value in content.items()}


def _text(value: str | float) -> str:
    if isinstance(value, bool):
        return "YES" if value else "NO"
    return str(value)
