"""The start functions of servoir.server."""

from __future__ import annotations

import os
from collections.abc import Sequence

from servoir import check, log
from servoir.server import process
from servoir.server.address import check_address
from servoir.server.config import ServableStartConfig
from servoir.server.plan import make_plans
from servoir.server.tls import SSLConfig

MAX_MESSAGE_MB = 512
# Made in the current directory; users put their own sockets there.
SOCKET_DIRECTORY = "unix_socket_files"


@process.stops_on_failure
def start_servables(
    servable_configs: ServableStartConfig | Sequence[ServableStartConfig], enable_lite: bool = False
) -> None:
    """Starts the workers of one or several servables, and returns when all are ready.

    RuntimeError with the worker's own error when one fails; then everything is stopped. A script that has called this
    goes on serving when it has come to its end, until SIGINT, SIGTERM or stop().

    `enable_lite` is there for scripts of the predecessor: MindSpore Lite is not needed, MindIR files are run by
    MindSpore itself; which backend runs a model can be said in declare_model.
    """
    configs = servable_configs if isinstance(servable_configs, (list, tuple)) else (servable_configs,)
    if not configs:
        raise RuntimeError("Parameter 'servable_configs' should not be empty")
    for index, config in enumerate(configs):
        if not isinstance(config, ServableStartConfig):
            raise check.refuse(f"servable_configs[{index}]", "a ServableStartConfig", config)
    if check.flag("enable_lite", enable_lite):
        log.warning(
            "enable_lite has no effect: MindIR models are run by the package mindspore, other models by other backends"
        )
    for config in configs:
        _check_device(config)
    plans, warnings = make_plans(configs)
    for warning in warnings:
        log.warning(warning)
    _make_socket_directory()
    process.running().start_servables(plans)


def _make_socket_directory() -> None:
    try:
        os.makedirs(SOCKET_DIRECTORY, exist_ok=True)
    except OSError as error:
        raise RuntimeError(
            f"The directory '{SOCKET_DIRECTORY}' cannot be made in the current directory: {error}"
        ) from None


def _check_device(config: ServableStartConfig) -> None:
    if config.device_type not in (None, "cpu", "none"):
        raise RuntimeError(
            f"Parameter 'device_type' of servable '{config.servable_name}' is '{config.device_type}', but this machine"
            f" or the backends have no such device; 'CPU' is possible"
        )


@process.stops_on_failure
def start_grpc_server(address: str, max_msg_mb_size: int = 100, ssl_config: SSLConfig | None = None) -> None:
    """Opens the gRPC server on "host:port" or "unix:path".

    max_msg_mb_size: MiB of the largest message, received or sent, 1…512. ssl_config: connections use TLS 1.2 or newer
    with these certificates. A file of it that does not exist raises an error that is a FileNotFoundError and a
    RuntimeError; one that is not what it should be, RuntimeError.
    """
    _listen("grpc", "gRPC", check_address(address, unix_allowed=True), max_msg_mb_size, ssl_config)


@process.stops_on_failure
def start_restful_server(address: str, max_msg_mb_size: int = 100, ssl_config: SSLConfig | None = None) -> None:
    """Opens the RESTful server on "host:port".

    max_msg_mb_size: MiB of the largest body, 1…512. ssl_config: as for start_grpc_server.
    """
    _listen("rest", "RESTful", check_address(address, unix_allowed=False), max_msg_mb_size, ssl_config)


def _listen(protocol: str, name: str, address: str, max_msg_mb_size: int, ssl_config: SSLConfig | None) -> None:
    check.integer("max_msg_mb_size", max_msg_mb_size, 1, MAX_MESSAGE_MB)
    if ssl_config is not None and not isinstance(ssl_config, SSLConfig):
        raise check.refuse("ssl_config", "a servoir.server.SSLConfig or None", ssl_config)
    tls = None if ssl_config is None else ssl_config.read()
    process.running().listen(address, protocol, max_msg_mb_size << 20, tls)
    print(f"Servoir {name} server start success, listening on {address}", flush=True)


def stop() -> None:
    """Ends the servers and all workers; the ports are free when it returns. May be called at any time, also several
    times; everything can be started again afterwards."""
    process.stop()
