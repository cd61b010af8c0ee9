"""The messages of the control socket: what server and worker tell each other, which is rare.

    worker → server    Hello, Opening, Trying, then Ready or Failed, Leaving
    server → worker    Load, Exit

The worker says Hello as soon as it runs, then waits for Load, and answers with Ready or Failed. Before and after each
thing that may end it while it loads it says Opening or Trying. A worker that was sent SIGINT or SIGTERM says Leaving
and serves on until it is told to Exit. When the socket is closed the worker ends.

A message is a JSON object: "type" is the name of the class in lower case, the rest are its fields. Bytes travel as
hexadecimal digits. Fields that a class does not have are ignored, so that Hello is understood whatever version sent it;
a field that is missing or of another type is a ControlError that names it.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from servoir.errors import ControlError
from servoir.servable.spec import ServableSpec

M = TypeVar("M", bound="Message")


@dataclass(frozen=True)
class Message:
    """What all messages share."""

    kind: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        cls.kind = cls.__name__.lower()

    def to_json(self) -> str:
        content: dict[str, Any] = {"type": self.kind}
        for one in dataclasses.fields(self):
            value = getattr(self, one.name)
            content[one.name] = value.hex() if isinstance(value, bytes) else value
        return json.dumps(content)

    @classmethod
    def from_object(cls: type[M], content: Mapping[str, Any]) -> M:
        """ControlError names the first field that is missing or wrong."""
        values = {}
        for name, expected in _field_types(cls).items():
            if name not in content:
                raise ControlError(f"a control message {cls.kind!r} has no field {name!r}")
            values[name] = _read(expected, content[name], cls.kind, name)
        return cls(**values)


@dataclass(frozen=True)
class Hello(Message):
    """The first message: server and worker must be of one installation."""

    version: str  # of the package
    channel_version: int  # of the protocol in shared memory
    pid: int


@dataclass(frozen=True)
class Load(Message):
    """What the worker is to serve. Only a worker that loads models is given the key of encrypted models."""

    servable_directory: str
    name: str
    version: int
    device_id: int | None  # None: an extra worker
    device_type: str | None  # of the start configuration, in lower case
    loads_models: bool
    usable_cores: float
    sharing_workers: int  # workers with models on this machine, which share its cores
    threads: int | None  # of each model; None: the worker's part of the cores
    spec: ServableSpec | None  # for a worker that does not load the models; the others make it
    dec_key: bytes | None = field(repr=False)
    dec_mode: str
    untried: tuple[str, ...] = ()  # models whose trial has ended a process before: they are loaded without one


@dataclass(frozen=True)
class Opening(Message):
    """The worker, while it loads, is about to open this model's files, which may end it. None: it has."""

    model: str | None


@dataclass(frozen=True)
class Trying(Message):
    """The worker, while it loads, is about to run this model with made-up values, which may end it. None: it has."""

    model: str | None


@dataclass(frozen=True)
class Ready(Message):
    """The worker has loaded everything. It runs these callees, numbers in the graph."""

    spec: ServableSpec | None  # of a worker that loads models
    functions: tuple[int, ...]
    models: tuple[int, ...]
    threads: int | None  # of each model
    backends: tuple[str, ...]  # that run the models, each with its version


@dataclass(frozen=True)
class Failed(Message):
    """The worker cannot serve, and ends."""

    text: str
    traceback: str  # of the user's code; empty without any


@dataclass(frozen=True)
class Leaving(Message):
    """The worker was sent this signal."""

    signal: int


@dataclass(frozen=True)
class Exit(Message):
    """The worker is to end."""


_CLASSES: dict[str, type[Message]] = {
    cls.kind: cls for cls in (Hello, Load, Opening, Trying, Ready, Failed, Leaving, Exit)
}


def from_json(body: bytes) -> Message:
    """ControlError for what is no message, naming what is wrong with it."""
    try:
        content = json.loads(body)
    except ValueError as error:
        raise ControlError(f"a control message is not JSON: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("type"), str):
        raise ControlError(f"a control message should be an object with a type, but is {body[:100]!r}")
    known = _CLASSES.get(content["type"])
    if known is None:
        raise ControlError(
            f"a control message has the unknown type {content['type']!r}; it can be one of {', '.join(_CLASSES)}"
        )
    return known.from_object(content)


_types: dict[type[Message], dict[str, Any]] = {}


def _field_types(cls: type[Message]) -> dict[str, Any]:
    """Types of the fields by name, found once for each class."""
    if cls not in _types:
        hints = typing.get_type_hints(cls)
        _types[cls] = {one.name: hints[one.name] for one in dataclasses.fields(cls)}
    return _types[cls]


def _read(expected: Any, value: Any, message: str, name: str) -> Any:
    """The value as the field has it."""
    if isinstance(expected, types.UnionType):  # a type, or None
        (some,) = (one for one in typing.get_args(expected) if one is not type(None))
        return None if value is None else _read(some, value, message, name)
    if typing.get_origin(expected) is tuple:
        item, _ = typing.get_args(expected)
        if not isinstance(value, list):
            raise _wrong(message, name, "a list", value)
        return tuple(_read(item, one, message, f"{name}[{index}]") for index, one in enumerate(value))
    if expected is bytes:
        try:
            return bytes.fromhex(value)
        except (TypeError, ValueError):
            # The value may be a secret.
            raise ControlError(f"the field {name!r} of a control message {message!r} is not hexadecimal") from None
    if typing.is_typeddict(expected):
        if not isinstance(value, dict):
            raise _wrong(message, name, "an object", value)
        return value
    accepted = (int, float) if expected is float else expected
    if not isinstance(value, accepted) or (isinstance(value, bool) and expected is not bool):
        raise _wrong(message, name, f"of type {expected.__name__}", value)
    return value


def _wrong(message: str, name: str, expected: str, value: object) -> ControlError:
    return ControlError(
        f"the field {name!r} of a control message {message!r} should be {expected}, but is {repr(value)[:100]} of type"
        f" {type(value).__name__}"
    )
