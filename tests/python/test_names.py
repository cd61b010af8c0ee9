"""The public names, where they are found, and the parameters of what users call."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest
from servoir import client, log, server
from support.scripts import run_python

NAMES = {
    "servoir.server": [
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
    ],
    "servoir.server.master": ["context"],
    "servoir.server.master.context": ["set_max_enqueued_requests"],
    "servoir.server.register": [
        "AscendDeviceInfo",
        "CPUDeviceInfo",
        "Context",
        "GPUDeviceInfo",
        "Model",
        "add_stage",
        "declare_model",
        "register_method",
    ],
    "servoir.server.distributed": ["declare_servable", "start_servable", "startup_agents"],
    "servoir.client": ["Client", "SSLConfig"],
    "servoir.log": ["debug", "error", "get_level", "get_log_config", "info", "warning"],
}


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in NAMES.items() for name in names])
def test_name_exists(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize("module", ["servoir.server", "servoir.server.register", "servoir.client"])
def test_star_import_gives_the_public_names(module: str) -> None:
    assert set(NAMES[module]) <= set(importlib.import_module(module).__all__)


def test_submodules_are_reached_through_server_alone(tmp_path: Path) -> None:
    """As scripts do it: nothing but `from servoir import server` is imported."""
    ended = run_python(
        """
        from servoir import server
        server.master.context.set_max_enqueued_requests(5)
        server.register.declare_model, server.register.add_stage
        server.distributed.startup_agents
        """,
        tmp_path,
    )
    assert ended.returncode == 0, ended.stderr


def test_register_is_one_module_however_it_is_imported(tmp_path: Path) -> None:
    ended = run_python(
        """
        from servoir import server
        from servoir.server import register
        import servoir.server.register as third
        assert server.register is register is third
        from servoir.server.register import Model
        assert Model is register.Model
        """,
        tmp_path,
    )
    assert ended.returncode == 0, ended.stderr


def test_the_client_and_the_server_have_different_ssl_configs() -> None:
    assert client.SSLConfig is not server.SSLConfig  # type: ignore[comparison-overlap]
    assert not issubclass(client.SSLConfig, server.SSLConfig)


REQUIRED = inspect.Parameter.empty

PARAMETERS: dict[str, tuple[Any, list[tuple[str, Any]]]] = {
    "ServableStartConfig": (
        server.ServableStartConfig,
        [
            ("servable_directory", REQUIRED),
            ("servable_name", REQUIRED),
            ("device_ids", None),
            ("version_number", 0),
            ("device_type", None),
            ("num_parallel_workers", 0),
            ("dec_key", None),
            ("dec_mode", "AES-GCM"),
        ],
    ),
    "start_servables": (server.start_servables, [("servable_configs", REQUIRED), ("enable_lite", False)]),
    "start_grpc_server": (
        server.start_grpc_server,
        [("address", REQUIRED), ("max_msg_mb_size", 100), ("ssl_config", None)],
    ),
    "start_restful_server": (
        server.start_restful_server,
        [("address", REQUIRED), ("max_msg_mb_size", 100), ("ssl_config", None)],
    ),
    "stop": (server.stop, []),
    "server SSLConfig": (
        server.SSLConfig,
        [("certificate", REQUIRED), ("private_key", REQUIRED), ("custom_ca", None), ("verify_client", False)],
    ),
    "set_max_enqueued_requests": (
        server.master.context.set_max_enqueued_requests,
        [("max_enqueued_requests", REQUIRED)],
    ),
    "Client": (
        client.Client,
        [
            ("address", REQUIRED),
            ("servable_name", REQUIRED),
            ("method_name", REQUIRED),
            ("version_number", 0),
            ("ssl_config", None),
        ],
    ),
    "client SSLConfig": (client.SSLConfig, [("certificate", None), ("private_key", None), ("custom_ca", None)]),
    "log.get_level": (log.get_level, []),
    "log.get_log_config": (log.get_log_config, []),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_their_order_and_defaults(name: str) -> None:
    """Parameters that are ours alone come after these, and by keyword only."""
    what, expected = PARAMETERS[name]
    parameters = list(inspect.signature(what).parameters.values())
    assert [(p.name, p.default) for p in parameters[: len(expected)]] == expected
    assert all(p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for p in parameters[: len(expected)])
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in parameters[len(expected) :])


@pytest.mark.parametrize(
    "call",
    [
        lambda: server.distributed.declare_servable(rank_size=8, stage_size=1, with_batch_dim=False, other=1),
        lambda: server.distributed.start_servable("directory", "name", rank_table_json_file="ranks.json"),
        lambda: server.distributed.startup_agents(distributed_address="127.0.0.1:6200", model_files=[]),
    ],
    ids=["declare_servable", "start_servable", "startup_agents"],
)
def test_distributed_functions_say_that_they_are_not_there_yet(call: Any) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)distributed\..*not available in this version.*declare_model"):
        call()
