"""Tensors of an ONNX file that lie in other files next to it.

Where such a file is a link that leads out of the model's directory, as in Hugging Face's cache (snapshots/REVISION/NAME
is a link to blobs/HASH), runtimes refuse it, because a model of a stranger could name any file of the machine. What the
model's file names has to lie in its own directory for us as well; but a link that is there was made by the user, so it
is followed, and the runtime gets the model's content with the place where the link leads.

    ModelProto  := … graph = 7 … functions = 25 …       (all that matters here is read by the numbers of onnx.proto)
    TensorProto := … name = 8, external_data = 13 {key = 1, value = 2} …, data_location = 14 …
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass

from servoir.backends.model_file import missing_file
from servoir.errors import BackendError
from servoir.protobuf_wire import Malformed, field, fields

_MESSAGES = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor", 23: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},
}
_NAME, _EXTERNAL_DATA, _DATA_LOCATION = 8, 13, 14  # of a tensor
_EXTERNAL = 1  # a data_location
_ENTRY = b"\x0a\x08location\x12"  # how an entry of external_data for a place begins
_LARGEST_SEARCHED = 256 << 20  # a file with its tensors elsewhere is small


@dataclass(frozen=True)
class ExternalTensor:
    name: str
    location: str  # relative to the model's directory
    offset: int
    length: int | None


_Place = Callable[[ExternalTensor], str | None]


def content_without_links(path: str, root: str) -> bytes | None:
    """The content of an ONNX file with `root` and the true paths, without the leading "/", as places of its tensors;
    None where the file can be opened as it is. BackendError where a file with tensors is missing or too short."""
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            if mapped.find(_ENTRY, 0, _LARGEST_SEARCHED) < 0:
                return None
        content = file.read()
    places = _Places(path, root)
    try:
        changed = _rewritten(memoryview(content), "model", places.place_of)
    except (Malformed, RecursionError):
        return None  # the runtime says what is wrong with it
    return changed if places.leads_away else None


class _Places:
    """Where the tensors of one file really are."""

    def __init__(self, path: str, root: str) -> None:
        self._path = path
        self._root = root
        self._directory = os.path.dirname(path)
        self._real_directory = os.path.realpath(self._directory)
        self._sizes: dict[str, int] = {}
        self.leads_away = False

    def place_of(self, tensor: ExternalTensor) -> str | None:
        """None: it stays as it is."""
        if not _is_inside(self._directory, os.path.join(self._directory, tensor.location)):
            return None  # which the runtime refuses, and says why
        path = os.path.join(self._directory, tensor.location)
        size = self._sizes.get(path)
        if size is None:
            size = self._sizes[path] = self._size(path, tensor)
        end = tensor.offset + (tensor.length or 0)
        if end > size:
            raise BackendError(
                f"the file '{path}' is too short: the tensor '{tensor.name}' of the model file '{self._path}' takes"
                f" the bytes {tensor.offset} to {end} of it, but it has {size}; it may have been copied or downloaded"
                f" in part"
            )
        real = os.path.realpath(path)
        if not _is_inside(self._real_directory, real):
            self.leads_away = True
        return self._root + real.lstrip("/")

    def _size(self, path: str, tensor: ExternalTensor) -> int:
        what = f"which has the tensor '{tensor.name}' of the model file '{self._path}'"
        if not os.path.isfile(path):
            raise BackendError(f"{missing_file(path)}, {what}")
        if not os.access(path, os.R_OK):
            raise BackendError(f"the file '{path}', {what}, may not be read by this user")
        return os.path.getsize(path)


def _is_inside(directory: str, path: str) -> bool:
    directory, path = os.path.abspath(directory), os.path.abspath(path)
    return path.startswith(directory.rstrip("/") + "/")


# ---- the message, rewritten ------------------------------------------------------------------------------------------


def _rewritten(message: memoryview, kind: str, place: _Place) -> bytes | None:
    """The message with other places of its tensors; None: with the same."""
    if kind == "tensor":
        return _rewritten_tensor(message, place)
    inner_kinds = _MESSAGES[kind]
    parts: list[bytes | memoryview] = []
    done = 0
    for number, value, start, end in fields(message):
        inner_kind = inner_kinds.get(number)
        if inner_kind is None or not isinstance(value, memoryview):
            continue
        inner = _rewritten(value, inner_kind, place)
        if inner is not None:
            parts += [message[done:start], field(number, inner)]
            done = end
    return b"".join([*parts, message[done:]]) if parts else None


def _rewritten_tensor(message: memoryview, place: _Place) -> bytes | None:
    name, is_external = "", False
    entries: dict[str, str] = {}
    parts: list[bytes | memoryview] = []
    for number, value, start, end in fields(message):
        if number == _DATA_LOCATION:
            is_external = value == _EXTERNAL
        if number == _NAME and isinstance(value, memoryview):
            name = bytes(value).decode(errors="replace")
        if number == _EXTERNAL_DATA and isinstance(value, memoryview):
            key, text = _entry(value)
            entries[key] = text
        else:
            parts.append(message[start:end])
    if not is_external or "location" not in entries:
        return None
    try:
        offset, length = int(entries.get("offset", "0")), entries.get("length")
        tensor = ExternalTensor(name, entries["location"], offset, None if length is None else int(length))
    except ValueError:
        raise Malformed from None
    new = place(tensor)
    if new is None:
        return None
    entries["location"] = new
    for key, text in entries.items():
        parts.append(field(_EXTERNAL_DATA, field(1, key.encode()) + field(2, os.fsencode(text))))
    return b"".join(parts)


def _entry(message: memoryview) -> tuple[str, str]:
    texts = {number: bytes(value) for number, value, _, _ in fields(message) if isinstance(value, memoryview)}
    return texts.get(1, b"").decode(errors="replace"), os.fsdecode(texts.get(2, b""))
