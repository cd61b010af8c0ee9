"""The start functions of servoir.server."""

from __future__ import annotations

import os
from collections.abc import Sequence

from servoir import check, log, standard_streams
from servoir.server.address import check_address
from servoir.server.config import ServableStartConfig
from servoir.server.instance import instance, stop_everything, stops_on_failure
from servoir.server.plan import make_plans
from servoir.server.tls import SSLConfig

MAX_MESSAGE_MB = 512
# Made in the current directory. Users put their own sockets into it.
SOCKET_DIRECTORY = "unix_socket_files"


@stops_on_failure
def start_servables(
    servable_configs: ServableStartConfig | Sequence[ServableStartConfig], enable_lite: bool = False
) -> None:
    """Starts the workers of one or several servables, and returns when all are ready.

    A script that has called this goes on serving after its end, until SIGINT, SIGTERM or stop(). It may be called
    before or after the servers are started, and several times for different servables or versions.

    Args:
        servable_configs: a ServableStartConfig, or a list or tuple of them. Configs of the same servable and version
            are merged: their devices are joined, and the larger number of workers is taken.
        enable_lite: has no effect. It is there for scripts of the predecessor: MindIR files are run by MindSpore.

    Raises:
        RuntimeError: a servable cannot be started. The text has what its worker says, with the traceback of
            servable_config.py where that failed. Everything is stopped then, servers that were started before as well.
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
    instance().start_servables(plans)


def _make_socket_directory() -> None:
    try:
        os.makedirs(SOCKET_DIRECTORY, exist_ok=True)
    except OSError as error:  # nothing of ours needs it
        log.info("the directory '%s' cannot be made in the current directory: %s", SOCKET_DIRECTORY, error)


def _check_device(config: ServableStartConfig) -> None:
    if config.device_type in (None, "none"):
        return
    from servoir.backends import device_kinds

    kinds = device_kinds()
    if config.device_type not in kinds:
        possible = ", ".join(f"'{kind.upper()}'" for kind in kinds)
        raise RuntimeError(
            f"Parameter 'device_type' of servable '{config.servable_name}' is '{config.device_type}', but this machine"
            f" or the backends have no such device; {possible} is possible"
        )


@stops_on_failure
def start_grpc_server(address: str, max_msg_mb_size: int = 100, ssl_config: SSLConfig | None = None) -> None:
    """Opens the gRPC server, and prints a line with "start success" and the address.

    Args:
        address: "host:port", or "unix:path" where the directory of the path exists.
        max_msg_mb_size: MiB of the largest message, received or sent, an int in 1…512.
        ssl_config: the certificates for TLS 1.2 or newer. None: connections are in the clear.

    Raises:
        RuntimeError: an argument is wrong, the address cannot be used, the gRPC server is running already, or a
            certificate is not what it should be. Everything that was started is stopped then.
        FileNotFoundError: a file of `ssl_config` does not exist. The error is a RuntimeError as well.
    """
    _listen("grpc", "gRPC", check_address(address, unix_allowed=True), max_msg_mb_size, ssl_config)


@stops_on_failure
def start_restful_server(address: str, max_msg_mb_size: int = 100, ssl_config: SSLConfig | None = None) -> None:
    """Opens the RESTful server, and prints a line with "start success" and the address.

    Args:
        address: "host:port".
        max_msg_mb_size: MiB of the largest body, received or sent, an int in 1…512.
        ssl_config: the certificates for TLS 1.2 or newer. None: connections are in the clear.

    Raises:
        RuntimeError: as for start_grpc_server.
        FileNotFoundError: as for start_grpc_server.
    """
    _listen("rest", "RESTful", check_address(address, unix_allowed=False), max_msg_mb_size, ssl_config)


def _listen(protocol: str, name: str, address: str, max_msg_mb_size: int, ssl_config: SSLConfig | None) -> None:
    check.integer("max_msg_mb_size", max_msg_mb_size, 1, MAX_MESSAGE_MB)
    if ssl_config is not None and not isinstance(ssl_config, SSLConfig):
        raise check.refuse("ssl_config", "a servoir.server.SSLConfig or None", ssl_config)
    tls = None if ssl_config is None else ssl_config.read()
    instance().listen(address, protocol, max_msg_mb_size << 20, tls)
    standard_streams.say(f"Servoir {name} server start success, listening on {address}")


def stop(*, grace: float | None = None, drain_delay: float | None = None) -> None:
    """Ends the servers and all workers. The ports are free when it returns.

    Health says at once that the server is not ready. After `drain_delay`, clients are told to go elsewhere, and those
    that come then are refused with UNAVAILABLE, or 503 with Retry-After. Requests that are there are answered; what is
    left of them after `grace` is refused in the same way.

    It may be called at any time, also when nothing was started. Everything can be started again afterwards.

    Args:
        grace: seconds. None: SERVOIR_STOP_GRACE, which is 30 unless it is set.
        drain_delay: seconds. None: SERVOIR_DRAIN_DELAY, which is 0 unless it is set.

    Raises:
        RuntimeError: an argument is wrong; nothing is stopped then.
    """
    stop_everything(
        None if grace is None else check.seconds("grace", grace),
        None if drain_delay is None else check.seconds("drain_delay", drain_delay),
    )
