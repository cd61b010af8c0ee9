"""The server: servables are started by start_servables, reached through start_grpc_server and start_restful_server."""

from servoir.errors import (
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    StageError,
    Unavailable,
    Unimplemented,
)
from servoir.server import distributed, master, register
from servoir.server.config import ServableStartConfig
from servoir.server.start import start_grpc_server, start_restful_server, start_servables, stop
from servoir.server.tls import SSLConfig

__all__ = [
    "InvalidArgument",
    "NotFound",
    "PermissionDenied",
    "ResourceExhausted",
    "SSLConfig",
    "ServableStartConfig",
    "StageError",
    "Unavailable",
    "Unimplemented",
    "distributed",
    "master",
    "register",
    "start_grpc_server",
    "start_restful_server",
    "start_servables",
    "stop",
]
