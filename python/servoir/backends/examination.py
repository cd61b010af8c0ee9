"""What there is of a backend on this machine, for people to look at: see `servoir doctor`.

Everything is loaded in processes of its own, so that nothing broken can hurt the process that asks.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from servoir import _core
from servoir.backends import backend_of, native, python_package
from servoir.backends.catalogue import records
from servoir.backends.tested_versions import is_tested, tested_range
from servoir.errors import BackendError


@dataclass(frozen=True)
class Refused:
    path: str
    place: str  # why it was looked at
    reason: str


@dataclass(frozen=True)
class Examination:
    backend: str
    version: str = ""  # of the runtime, where it is known, even if the runtime cannot be used
    found: str = ""  # the library or the package's directory
    devices: list[str] = field(default_factory=list)
    problem: str = ""  # why it cannot be used
    refused: list[Refused] = field(default_factory=list)

    @property
    def usable(self) -> bool:
        return not self.problem

    @property
    def tested(self) -> bool:
        return bool(self.version) and is_tested(self.backend, self.version)

    @property
    def tested_range(self) -> str:
        return tested_range(self.backend)


def examine(backend: str) -> Examination:
    """Takes as long as the backend takes to load, or SERVOIR_TRIAL_SECONDS for each candidate that hangs."""
    record = records()[backend]
    if record.kind == "package":
        # A package does not say which devices it could use; these are those that it is used with.
        devices = [kind.upper() for kind in backend_of(record).device_kinds()]
        return _examine_package(backend, record.package, devices)
    module = importlib.import_module(record.class_path.rpartition(".")[0])
    return _examine_native(backend, module.plugin, module.search_places)


def _examine_native(
    backend: str, plugin: Callable[[], str], places: Callable[[], list[tuple[str, str]]]
) -> Examination:
    try:
        path = plugin()
    except BackendError as error:
        return Examination(backend, problem=str(error))
    report = _core.NativeBackend.examine(
        path, places(), trial_program=native.trial_program(), trial_seconds=native.trial_seconds()
    )
    refused = [Refused(one["path"], one["place"], one["reason"]) for one in report["refused"]]
    problem: str = report["problem"].partition("\n")[0].removesuffix("; tried:")  # the candidates are in `refused`
    return Examination(backend, report["version"], report["library"] or path, report["devices"], problem, refused)


# Imports the package as a worker would, whatever the directory it is started in.
_IMPORT = """
import json, os, sys
sys.path[:] = json.loads(sys.argv[2])
from servoir.backends.python_package import import_package
from servoir.backends.trial_program import Report
report = Report(3)
try:
    package = import_package(sys.argv[1])
    report.tell("version", str(getattr(package, "__version__", "")))
    report.tell("found", os.path.dirname(package.__file__))
except Exception as error:
    report.tell("refused", str(error))
report.end()
"""


def _examine_package(backend: str, package: str, devices: Sequence[str]) -> Examination:
    own = python_package.own_place(package)
    last = python_package.last_places(package)
    places = [*python_package.package_places(package), *([own] if own else []), *last]
    refused, first_good = [], None
    for place in places:
        if reason := place.tried():
            refused.append(Refused(place.path, place.reason, reason))
        elif first_good is None:
            first_good = place
    if first_good is None and own is not None and not last:
        # The reason why it cannot be used is among the refused.
        root = os.path.join(own.site, package)
        return Examination(
            backend, _installed_version(package, own.site), root, problem=refused[-1].reason, refused=refused
        )
    records, failure = _core.run_trial(
        [sys.executable, "-c", _IMPORT, package, json.dumps(sys.path)], native.trial_seconds()
    )
    said: dict[str, Any] = dict(records)
    if not failure and "version" in said:
        return Examination(backend, said["version"], said.get("found", ""), list(devices), refused=refused)
    site = first_good.site if first_good else ""
    problem = f"importing it {failure}" if failure else said["refused"].partition("\n")[0]
    return Examination(
        backend,
        _installed_version(package, site) if site else "",
        os.path.join(site, package) if site else "",
        problem=problem,
        refused=refused,
    )


def _installed_version(package: str, site: str) -> str:
    """As its installation tells, without importing it."""
    for found in importlib.metadata.distributions(name=package, path=[site]):
        return found.version
    return ""
