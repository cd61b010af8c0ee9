"""Makes plans of ServableStartConfigs: finds directories and versions, and merges the configs of the same version."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from servoir.servable.config_module import CONFIG_FILE
from servoir.servable.versions import LARGEST_VERSION, versions_on_disk
from servoir.server.config import ServableStartConfig


@dataclass(frozen=True)
class ServablePlan:
    """What is to be started of a version of a servable."""

    directory: str  # servable_directory, absolute
    name: str
    version: int
    device_ids: tuple[int, ...]
    device_type: str | None
    parallel_workers: int
    dec_key: bytes | None = field(repr=False)
    dec_mode: str

    @property
    def extra_workers(self) -> int:
        """How many workers there are in addition to those of the devices."""
        return max(0, self.parallel_workers - len(self.device_ids))

    @property
    def model_workers(self) -> int:
        """How many workers load the models."""
        return len(self.device_ids) or self.extra_workers


def _check_place(directory: str, name: str, origin: str) -> None:
    # The name becomes a part of URLs and of file names, and the name of a Python package.
    if "/" in name or "." in name:
        raise RuntimeError(
            f"Parameter 'servable_name' should be the name of one directory in 'servable_directory', without '/' and"
            f" '.', but is '{name}'"
        )
    servable = os.path.join(directory, name)
    if not os.path.isdir(servable):
        raise RuntimeError(
            f"Servable '{name}': there is no directory '{servable}'; it should be the directory 'servable_name' in"
            f" 'servable_directory' of its ServableStartConfig{_remedy(origin)}"
        )
    config = os.path.join(servable, CONFIG_FILE)
    if not os.path.isfile(config):
        raise RuntimeError(f"Servable '{name}': there is no file '{config}'")


def _remedy(origin: str) -> str:
    if not origin:
        return ""
    return (
        f". That was taken for {origin}; an absolute path, such as"
        f" os.path.join(os.path.dirname(__file__), …), depends on neither"
    )


def _merge(first: ServablePlan, second: ServablePlan) -> ServablePlan:
    for what in ("dec_key", "dec_mode", "device_type"):
        here, there = getattr(first, what), getattr(second, what)
        if here != there and not (what == "device_type" and None in (here, there)):
            raise RuntimeError(
                f"Servable '{first.name}', version {first.version}, is to be started by several configs whose"
                f" '{what}' differ"
            )
    ids = first.device_ids + tuple(device for device in second.device_ids if device not in first.device_ids)
    return replace(
        first,
        device_ids=ids,
        device_type=first.device_type or second.device_type,
        parallel_workers=max(first.parallel_workers, second.parallel_workers),
    )


def make_plans(configs: Sequence[ServableStartConfig]) -> tuple[list[ServablePlan], list[str]]:
    """Returns the plans in the order of the configs, and warnings. Raises RuntimeError if something is missing on the
    disk, or if configs contradict each other."""
    directories: dict[str, str] = {}
    plans: dict[tuple[str, int], ServablePlan] = {}
    warnings: list[str] = []
    for config in configs:
        name, directory = config.servable_name, config.servable_directory
        known = directories.get(name)
        if known is not None and known != directory:
            raise RuntimeError(
                f"Servable '{name}' is to be started from two directories, '{known}' and '{directory}'; a name can have"
                f" one only"
            )
        if known is None:
            _check_place(directory, name, config.origin)
            directories[name] = directory
        versions, odd = versions_on_disk(os.path.join(directory, name))
        for entry in odd:
            warning = f"Servable '{name}': directory '{entry}' is not taken for a version because of its leading zeros"
            if warning not in warnings:
                warnings.append(warning)
        version = config.version_number or (versions[-1] if versions else 1)
        if version > LARGEST_VERSION:
            raise RuntimeError(
                f"Parameter 'version_number' of servable '{name}' is {version}; the largest possible version is"
                f" {LARGEST_VERSION}"
            )
        plan = ServablePlan(
            directory=directory,
            name=name,
            version=version,
            device_ids=config.device_ids,
            device_type=config.device_type,
            parallel_workers=config.num_parallel_workers,
            dec_key=config.dec_key,
            dec_mode=config.dec_mode,
        )
        before = plans.get((name, version))
        plans[name, version] = _merge(before, plan) if before else plan
    return list(plans.values()), warnings
