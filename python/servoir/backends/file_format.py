"""Which format a model's file has, recognised by its content."""

from __future__ import annotations

import io
import re
import zipfile

from servoir.backends.model_file import ModelFile
from servoir.errors import BackendError


def file_format(file: ModelFile) -> str:
    """The format in lower case, if a backend knows it. Else BackendError, which says what the file is like."""
    if file.mindspore_mode is not None:
        return "mindir"
    head, path = file.head(), file.path
    if not head:
        raise BackendError(f"the model file '{path}' is empty")
    if re.match(rb"(\xef\xbb\xbf)?\s*<", head):
        if re.search(rb"<net[\s>]", head):
            return "openvino"
        raise BackendError(f"the model file '{path}' is XML, but not OpenVINO's: it has no element 'net' at its start")
    if head.startswith(b"PK\x03\x04"):
        return _archive_format(file)
    if _looks_like_mindir(head):
        return "mindir"
    if head[4:7] == b"MSL":
        raise BackendError(f"the model file '{path}' is of MindSpore Lite (.ms); {REFUSED_FORMATS['mindir_lite']}")
    if head.startswith(b"IMOD"):
        raise BackendError(f"the model file '{path}' is an Ascend offline model (.om); {REFUSED_FORMATS['om']}")
    if _looks_like_onnx(head) or path.endswith(".onnx"):
        return "onnx"
    raise BackendError(
        f"the format of the model file '{path}' is unknown; ONNX, OpenVINO IR (.xml), MindIR, TorchScript and programs"
        f" of torch.export (.pt2) are known"
    )


def _archive_format(file: ModelFile) -> str:
    """Of a ZIP archive; PyTorch's have one directory, named like the file when it was saved."""
    try:
        with zipfile.ZipFile(file.path if file.content is None else io.BytesIO(file.content)) as archive:
            names = {name.partition("/")[2] or name for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError) as error:
        raise BackendError(
            f"the model file '{file.path}' begins like a ZIP archive, as PyTorch writes, but is truncated or damaged:"
            f" {error}"
        ) from error
    if any(name.startswith("data/aotinductor/") for name in names):
        raise BackendError(
            f"the model file '{file.path}' is compiled by AOTInductor; save the program itself, with torch.export.save"
        )
    if any(name.startswith("models/") for name in names) or "serialized_exported_program.json" in names:
        return "exportedprogram"
    if "constants.pkl" in names:
        return "torchscript"
    if "data.pkl" in names:
        raise BackendError(
            f"the model file '{file.path}' holds weights only, as torch.save writes them; save the model with its"
            f" program: torch.export.save(torch.export.export(…), …), or torch.jit.save(torch.jit.script(…), …)"
        )
    raise BackendError(f"the model file '{file.path}' is a ZIP archive, but none that PyTorch has written")


# Formats of the predecessor that no backend runs, and what to do instead.
REFUSED_FORMATS = {
    "om": "offline models run on Ascend processors only; export the network as MindIR or ONNX",
    "mindir_opt": "MindIR optimised for MindSpore Lite on Ascend is not run; use the MindIR file that it was made of",
    "mindir_lite": "no backend here runs files of MindSpore Lite; export the network as MindIR or ONNX",
}


def _looks_like_mindir(head: bytes) -> bool:
    """MindIR's ModelProto begins with ir_version (field 1, a string) and producer_name (field 2, "MindSpore")."""
    return len(head) > 2 and head[0] == 0x0A and head[2 + head[1] :].startswith(b"\x12\x09MindSpore")


def _looks_like_onnx(head: bytes) -> bool:
    """ModelProto begins with ir_version (field 1, a number), then comes one of its other fields."""
    if len(head) < 3 or head[0] != 0x08 or not 1 <= head[1] < 0x80:
        return False
    field, wire_type = head[2] >> 3, head[2] & 7
    return (field, wire_type) in {(2, 2), (3, 2), (4, 2), (5, 0), (6, 2), (7, 2), (8, 2), (14, 2)}
