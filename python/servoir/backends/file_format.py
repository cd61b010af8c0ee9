"""Which format a model's file has, told by its content."""

from __future__ import annotations

import re

from servoir.backends.model import BackendError

_HEAD_BYTES = 4096


def file_format(path: str) -> str:
    """The format in lower case, one that some backend knows. BackendError, saying what the file is like, for others."""
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise BackendError(f"the model file '{path}' cannot be read: {error.strerror}") from error
    if not head:
        raise BackendError(f"the model file '{path}' is empty")
    if re.match(rb"(\xef\xbb\xbf)?\s*<", head):
        if re.search(rb"<net[\s>]", head):
            return "openvino"
        raise BackendError(f"the model file '{path}' is XML, but not OpenVINO's: it has no element 'net' at its start")
    if head.startswith(b"PK\x03\x04"):
        raise BackendError(f"the model file '{path}' is a ZIP archive, as PyTorch writes; no backend here runs that")
    if _looks_like_onnx(head) or path.endswith(".onnx"):
        return "onnx"
    raise BackendError(f"the format of the model file '{path}' is unknown; ONNX and OpenVINO IR (.xml) are known")


def _looks_like_onnx(head: bytes) -> bool:
    """ModelProto begins with ir_version (field 1, a number), then comes one of its other fields."""
    if len(head) < 3 or head[0] != 0x08 or not 1 <= head[1] < 0x80:
        return False
    field, wire_type = head[2] >> 3, head[2] & 7
    return (field, wire_type) in {(2, 2), (3, 2), (4, 2), (5, 0), (6, 2), (7, 2), (8, 2), (14, 2)}
