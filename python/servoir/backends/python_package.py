"""Where the Python packages of backends are looked for, and importing them from there.

In this order: where SERVOIR_<PACKAGE>_DIR says (SERVOIR_ONNXRUNTIME_DIR), among the interpreter's own packages. What
build.sh -p was given comes before or after these, see recorded.py. A directory is site-packages, the package's own, or
that of the libraries in it. What a package is made of is loaded in a process of its own before it is imported, see
package_trial.py.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from servoir import log, settings
from servoir.backends import package_trial
from servoir.backends.catalogue import BackendRecord, records
from servoir.backends.native import plugin_directory
from servoir.backends.recorded import PLACE, recorded_directories
from servoir.errors import BackendError


@dataclass(frozen=True)
class PackagePlace:
    path: str  # as it was given
    reason: str
    site: str = ""  # the directory that has the package in it
    extension: str = ""  # the file that Python loads of it
    refusal: str = ""  # empty: nothing is known against importing it from there

    def tried(self) -> str:
        """The refusal, after a trial in a process of its own."""
        if self.refusal:
            return self.refusal
        problem = package_trial.refusal(self.extension)
        return f"{self.extension} {problem}" if problem else ""


def _record(package: str) -> BackendRecord:
    """That of the backend which the package runs. The two need not have the same name."""
    [record] = [record for record in records().values() if record.kind == "package" and record.package == package]
    return record


def package_places(package: str) -> list[PackagePlace]:
    """The directories that were named for it and come before those of sys.path, in order."""
    setting = settings.PACKAGE_DIR.of(package)
    named = [(given, setting.variable)] if (given := setting.read()) else []
    named += [(directory, PLACE) for directory in recorded_directories(plugin_directory(), _record(package).name).first]
    return [_place(path, reason, package) for path, reason in named]


def last_places(package: str) -> list[PackagePlace]:
    """Those that come after sys.path."""
    last = recorded_directories(plugin_directory(), _record(package).name).last
    return [_place(directory, PLACE, package) for directory in last]


def import_package(package: str) -> ModuleType:
    """The package, from the first of its places that has it. BackendError says which were tried, and why not."""
    if (imported := sys.modules.get(package)) is not None:
        return imported  # a process can have it but once
    refused: list[str] = []
    imported = _import_first(package_places(package), package, refused)
    if imported is not None:
        return imported
    problem: ImportError | None = None
    own = own_place(package)
    if own is not None and (refusal := own.tried()):
        text = f"the package {package} in {own.path} cannot be used: {refusal}; install it again"
    else:
        try:
            return importlib.import_module(package)
        except ImportError as error:
            problem = error
            extra = _record(package).extra
            install = f"'servoir[{extra}]'" if extra else package
            text = f"the package {package} cannot be imported ({error}); pip install {install}"
    imported = _import_first(last_places(package), package, refused)
    if imported is not None:
        return imported
    raise BackendError("\n  ".join([text, *refused])) from problem


def _import_first(places: Sequence[PackagePlace], package: str, refused: list[str]) -> ModuleType | None:
    """From the first of the places that is good; why the others are not is added to `refused`."""
    for place in places:
        refusal = place.tried()
        if not refusal:
            try:
                return _import_from(place.site, package)
            except ImportError as error:
                refusal = f"cannot be imported: {error}"
        refused.append(f"{place.path} ({place.reason}): {refusal}")
        log.warning("the package %s is not taken from %s", package, refused[-1])
    return None


def own_place(package: str) -> PackagePlace | None:
    """Where the interpreter would import it from; None where it is not there, or not as we know it: then Python itself
    may say what it thinks of it."""
    spec = None if package in sys.modules else importlib.machinery.PathFinder.find_spec(package)
    for root in (spec.submodule_search_locations or []) if spec else []:
        place = _place(root, "the packages of this interpreter", package)
        return place if place.extension else None
    return None


def _place(path: str, reason: str, package: str) -> PackagePlace:
    if not os.path.isdir(path):
        return PackagePlace(path, reason, refusal="does not exist" if not os.path.exists(path) else "is no directory")
    site = os.path.abspath(path)
    for _ in range(3):  # site-packages, site-packages/torch, site-packages/torch/lib
        if os.path.isfile(os.path.join(site, package, "__init__.py")):
            break
        site = os.path.dirname(site)
    else:
        return PackagePlace(path, reason, refusal=f"has no package {package}, and does not belong to one")
    # Whether the file that Python loads of it fits tells whether the package does.
    extension = os.path.join(site, package, _record(package).extension)
    suffixes = importlib.machinery.EXTENSION_SUFFIXES
    for suffix in suffixes:
        if os.path.isfile(extension + suffix):
            return PackagePlace(path, reason, site, extension + suffix)
    refusal = f"is not for this Python, which needs {extension}{suffixes[0]}"
    return PackagePlace(path, reason, site, refusal=refusal)


def _import_from(site: str, package: str) -> ModuleType:
    """Imports the package that is in `site`, not one of the same name that comes earlier on sys.path.

    What it depends on is taken from sys.path, and only what is not there from `site` as well, which therefore is added
    to the end: packages like these import parts of what they need when these are first used.
    """
    spec = importlib.machinery.PathFinder.find_spec(package, [site])
    if spec is None or spec.loader is None:
        raise ImportError(f"there is no package {package} in {site}")
    before = set(sys.modules)
    added = site not in sys.path
    if added:
        sys.path.append(site)
    module = importlib.util.module_from_spec(spec)
    sys.modules[package] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        for name in set(sys.modules) - before:
            if name == package or name.startswith(f"{package}."):
                del sys.modules[name]
        if added:
            sys.path.remove(site)
        raise
    return module
