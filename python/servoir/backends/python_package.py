"""Where the Python packages of backends are looked for, and importing them from there.

In this order: where SERVOIR_<PACKAGE>_DIR says (SERVOIR_ONNXRUNTIME_DIR), where the build had it (bash build.sh -p),
among the interpreter's own packages. A directory is site-packages, the package's own, or that of the libraries in it.
What a package is made of is loaded in a process of its own before it is imported, see package_trial.py.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys
from dataclasses import dataclass
from types import ModuleType

from servoir import log
from servoir.backends import package_trial
from servoir.backends.model import BackendError
from servoir.backends.native import recorded_directories

# What Python loads of the package, without its suffix: whether that fits tells whether the package does.
_EXTENSIONS = {"onnxruntime": "capi/onnxruntime_pybind11_state", "mindspore": "_c_expression", "torch": "_C"}


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


def package_places(package: str) -> list[PackagePlace]:
    """The directories that were named for it, in order. Not those of sys.path, which come after these."""
    variable = f"SERVOIR_{package.upper()}_DIR"
    named = [(given, variable)] if (given := os.environ.get(variable)) else []
    named += [(directory, "the build had it there") for directory in recorded_directories(package)]
    return [_place(path, reason, package) for path, reason in named]


def import_package(package: str) -> ModuleType:
    """The package, from the first of its places that has it. BackendError says which were tried, and why not."""
    if (imported := sys.modules.get(package)) is not None:
        return imported  # a process can have it but once
    refused = []
    for place in package_places(package):
        refusal = place.tried()
        if not refusal:
            try:
                return _import_from(place.site, package)
            except ImportError as error:
                refusal = f"cannot be imported: {error}"
        refused.append(f"{place.path} ({place.reason}): {refusal}")
        log.warning("the package %s is not taken from %s", package, refused[-1])
    own = own_place(package)
    if own is not None and (refusal := own.tried()):
        text = f"the package {package} in {own.path} cannot be used: {refusal}; install it again"
        raise BackendError("\n  ".join([text, *refused]))
    try:
        return importlib.import_module(package)
    except ImportError as error:
        text = f"the package {package} cannot be imported ({error}); pip install 'servoir[{package}]'"
        raise BackendError("\n  ".join([text, *refused])) from error


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
    extension = os.path.join(site, package, _EXTENSIONS[package])
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
