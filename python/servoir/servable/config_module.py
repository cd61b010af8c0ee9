"""Imports servable_config.py as the module SERVABLE_NAME.servable_config."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from importlib.machinery import ModuleSpec

CONFIG_MODULE = "servable_config"
CONFIG_FILE = f"{CONFIG_MODULE}.py"


def _is_package_of(spec: ModuleSpec | None, directory: str) -> bool:
    if spec is None or spec.submodule_search_locations is None:
        return False
    return any(os.path.realpath(place) == directory for place in spec.submodule_search_locations)


def import_config(servable_directory: str, name: str) -> None:
    """Appends `servable_directory` to sys.path and imports the configuration. Raises whatever that raises."""
    sys.path.append(servable_directory)
    directory = os.path.realpath(os.path.join(servable_directory, name))
    known = sys.modules.get(name)
    if known is not None:
        spec = known.__spec__
    else:
        spec = importlib.util.find_spec(name)
    if not _is_package_of(spec, directory):
        if known is not None:
            raise RuntimeError(
                f"servable_name '{name}' is also the name of a Python module that is in use"
                f" ({getattr(known, '__file__', None) or 'built in'}); give the servable's directory another name"
            )
        _install_package(name, directory)
    importlib.import_module(f"{name}.{CONFIG_MODULE}")


def _install_package(name: str, directory: str) -> None:
    """Makes the directory the package `name` where another module of this name comes earlier in sys.path."""
    init = os.path.join(directory, "__init__.py")
    if os.path.isfile(init):
        spec = importlib.util.spec_from_file_location(name, init, submodule_search_locations=[directory])
    else:
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [directory]
    if spec is None:
        raise RuntimeError(f"'{init}' cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if spec.loader is not None:
        spec.loader.exec_module(module)
