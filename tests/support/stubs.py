"""Messages and services of this folder's ms_service.proto, as grpcio-tools makes them: nothing of the package's own."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from support.modules import load_module

PROTO = Path(__file__).resolve().parent / "ms_service.proto"
# Another name than that of the package's own: protobuf knows each file once.
NAME = "ms_service_of_tests"


def make(directory: Path) -> None:
    """Writes the modules to `directory`."""
    from grpc_tools import protoc

    shutil.copyfile(PROTO, directory / f"{NAME}.proto")
    command = [f"-I{directory}", f"--python_out={directory}", f"--grpc_python_out={directory}"]
    status = protoc.main(["protoc", *command, str(directory / f"{NAME}.proto")])
    assert status == 0, f"protoc ended with {status}"


def load(directory: Path) -> tuple[Any, Any]:
    """(messages, services) from where make() wrote them."""
    messages = load_module(directory / f"{NAME}_pb2.py")
    sys.modules[messages.__name__] = messages  # the services import it
    return messages, load_module(directory / f"{NAME}_pb2_grpc.py")
