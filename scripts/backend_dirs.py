"""The library directories of backends, for build.sh.

backend_dirs.py find           prints those of native backends that the running interpreter has installed, one a line
backend_dirs.py check DIR      looks at DIR: prints the directory that the build is to be given, then a line for each
                               backend that was recognised; or ends with 2 and says why none can be used

The wheel is made for the running interpreter: extensions of a package have to fit it.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import library_trial

if TYPE_CHECKING:
    from servoir.backends import catalogue
else:  # The package is not installed yet, and this module of it needs nothing else.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python" / "servoir" / "backends"))
    import catalogue

    sys.path.pop(0)

EMBEDDED_ABOUT = "servoir_backend.json"  # what the recipe of an embedded backend says of its work


class Refusal(Exception):
    """Why a backend cannot be used; names the library or the directory."""


RECORDS = tuple(catalogue.records().values())


def find() -> list[Path]:
    """Those of the packages installed for this interpreter. Imports none of them."""
    found = []
    for backend in RECORDS:
        if backend.kind != "plugin" or not backend.package:
            continue
        spec = importlib.util.find_spec(backend.package)
        for place in (spec.submodule_search_locations or []) if spec else []:
            directory = Path(place) / backend.folder
            if _has(directory, backend):
                found.append(directory)
    return found


def check(directory: Path, seconds: float = library_trial.SECONDS) -> tuple[Path, list[str]]:
    """The directory with the libraries, and a line for each usable backend. Raises Refusal if there is none."""
    if not directory.is_dir():
        raise Refusal(f"{directory} is not a directory" if directory.exists() else f"there is no directory {directory}")
    if not os.access(directory, os.R_OK | os.X_OK):
        raise Refusal(f"{directory} may not be read by this user")
    given, directory = directory, _libraries_of(directory)
    recognised = [backend for backend in RECORDS if _has(directory, backend)]
    if not recognised:
        raise Refusal(_nothing_in(given))
    judged = [_judged(backend, directory, seconds) for backend in recognised]
    if not any(usable for usable, _ in judged):
        raise Refusal("\n".join(text for _, text in judged))
    return directory, [text for _, text in judged]


# ---- recognising -----------------------------------------------------------------------------------------------------


def _has(directory: Path, backend: catalogue.BackendRecord) -> bool:
    return any(any(directory.glob(pattern)) for pattern in (*backend.libraries, *backend.lookalikes))


def _libraries_of(directory: Path) -> Path:
    """Two directories stand for the directory with the libraries in it: what the recipe of an embedded backend
    installed, and a package whose extension lies above its libraries.
    """
    for backend in RECORDS:
        above = EMBEDDED_ABOUT if backend.kind == "embedded" else f"{backend.extension}*.so"
        is_above = (backend.kind == "embedded" or backend.lookalikes == (above,)) and any(directory.glob(above))
        if is_above and (directory / backend.folder).is_dir():
            return directory / backend.folder
    return directory


def _nothing_in(directory: Path) -> str:
    sought = ", ".join(
        f"{' or '.join([*backend.libraries, *backend.lookalikes])} ({backend.title})" for backend in RECORDS
    )
    names = sorted(entry.name + "/" * entry.is_dir() for entry in directory.iterdir())
    there = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "") if names else "nothing"
    hint = "".join(
        f"; did you mean {directory / folder}?"
        for backend in RECORDS
        for folder in (backend.folder, f"{backend.package}/{backend.folder}")
        if _has(directory / folder, backend)
    )
    return f"{directory} has the libraries of no known backend: looked for {sought}, there is {there}{hint}"


# ---- judging ---------------------------------------------------------------------------------------------------------


def _judged(backend: catalogue.BackendRecord, directory: Path, seconds: float) -> tuple[bool, str]:
    """Whether the backend can be used, and a line that says so, or why not."""
    try:
        return True, _judge(backend, directory, seconds)
    except Refusal as refusal:
        return False, f"{backend.title} in {directory} cannot be used: {refusal}"


def _judge(backend: catalogue.BackendRecord, directory: Path, seconds: float) -> str:
    if backend.kind == "embedded":
        return _judge_embedded(backend, directory)
    if backend.kind == "package":
        package = directory.parent
        _load(_extension(backend, package), seconds)
        version = _version_of_package(backend, package) or "of unknown version"
        return (
            f"{backend.title} {version} in {directory}: its library loads; this is the first place where the package"
            f" {backend.package} is looked for, by this interpreter on this machine (it runs through Python"
            f" {_python()}, no plug-in is needed)"
        )
    library = max((file for file in directory.glob(backend.libraries[0])), key=lambda file: file.name)
    trial = _load(library, seconds, backend.version_function)
    _check_headers(backend, directory)
    if backend.version_function and not trial.version:
        raise Refusal(
            f"{library} has no function {backend.version_function}: it is not {backend.title}'s, or older than the"
            f" versions that can be used"
        )
    version = trial.version.partition("-")[0] or "of unknown version"
    return f"{backend.title} {version} in {directory}: its plug-in is built"


def _judge_embedded(backend: catalogue.BackendRecord, directory: Path) -> str:
    about = directory.parent / EMBEDDED_ABOUT
    try:
        said = json.loads(about.read_text())
        version, variant = said["version"], said["variant"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refusal(
            f"{about} cannot be read ({type(error).__name__}: {error}); third_party/{backend.name}/build.sh writes it,"
            f" and no other static build of {backend.title} is known to have what the plug-in needs"
        ) from error
    config = directory / backend.header
    if not config.is_file():
        raise Refusal(f"there is no {config}: the installation is not complete")
    # A recipe that does not say so was run by the compiler that is here.
    theirs, ours = said.get("cxx11_abi"), _compilers_cxx11_abi()
    if None not in {theirs, ours} and theirs != ours:
        raise Refusal(
            f"{directory / backend.libraries[0]} was compiled with _GLIBCXX_USE_CXX11_ABI={theirs}, and the compiler"
            f" here ({_compiler()}) has {ours}: they cannot be linked"
        )
    return f"{backend.title} {version} ({variant}) in {directory}: its plug-in is built, with {backend.title} inside"


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _extension(backend: catalogue.BackendRecord, package: Path) -> Path:
    """The extension that this interpreter would load."""
    suffixes = importlib.machinery.EXTENSION_SUFFIXES
    for suffix in suffixes:
        if (file := package / (backend.extension + suffix)).is_file():
            return file
    place = (package / backend.extension).parent
    stem = Path(backend.extension).name
    others = sorted(file.name for file in place.glob(f"{stem}.*so"))
    if others:
        raise Refusal(
            f"it is for another Python: there is {', '.join(others)}, and the wheel is for Python {_python()}"
            f" ({sys.executable}), which loads {stem}{suffixes[0]}"
        )
    raise Refusal(
        f"it is not the Python package {backend.package}, through which {backend.title} is run: there is no"
        f" {stem}{suffixes[0]} in {place}; pip install {backend.package}, and give {backend.package}/{backend.folder}"
    )


def _check_headers(backend: catalogue.BackendRecord, directory: Path) -> None:
    places = [Path(os.path.normpath(directory / place)) for place in catalogue.header_places()]
    if not any((place / backend.header).is_file() for place in places):
        raise Refusal(
            f"there is no {backend.header}, which its plug-in is compiled against, in any of"
            f" {', '.join(map(str, places))}"
        )


def _load(library: Path, seconds: float, version_function: str = "") -> library_trial.Trial:
    trial = library_trial.load(library, seconds, version_function)
    if trial.problem:
        raise Refusal(f"{library} {trial.problem}")
    return trial


def _compiler() -> str:
    return os.environ.get("CXX") or "c++"


def _compilers_cxx11_abi() -> int | None:
    """None when there is no compiler yet: build.sh installs a compiler later."""
    if shutil.which(_compiler()) is None:
        return None
    done = subprocess.run(
        [_compiler(), "-x", "c++", "-dM", "-E", "-include", "string", os.devnull],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = re.search(r"^#define _GLIBCXX_USE_CXX11_ABI ([01])$", done.stdout, re.MULTILINE)
    return None if found is None else int(found[1])


def _version_of_package(backend: catalogue.BackendRecord, package: Path) -> str:
    file = package / backend.version_file
    if backend.version_file and file.is_file():
        text = file.read_text(errors="replace")
        if found := re.search(r"""^__version__\s*=\s*["']([^"']+)["']""", text, re.MULTILINE):
            return found[1]
    for metadata in sorted(package.parent.glob(f"{package.name}-*.dist-info/METADATA")):
        if found := re.search(r"^Version: (.+)$", metadata.read_text(errors="replace"), re.MULTILINE):
            return found[1]
    return ""


def main(arguments: list[str]) -> int:
    if arguments == ["find"]:
        for directory in find():
            print(directory)
        return 0
    if len(arguments) == 2 and arguments[0] == "check":
        try:
            directory, lines = check(Path(arguments[1]).absolute())
        except Refusal as refusal:
            print(f"build.sh: -p: {refusal}", file=sys.stderr)
            return 2
        print(directory.resolve(), *lines, sep="\n")
        return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
