"""The library directories of backends, for build.sh.

backend_dirs.py find           prints those of native backends that the running interpreter has installed, one a line
backend_dirs.py check DIR      looks at DIR: prints the directory that the build is to be given, then a line for each
                               backend that was recognised; or ends with 2 and says why none can be used

The running interpreter is the one that the wheel is for: extensions of a package have to fit it.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import library_trial
from elf_file import ElfError, ElfFile, machine_of, newest, read_elf, version_number


class Refusal(Exception):
    """Why a backend cannot be used; names the library or the directory."""


@dataclass(frozen=True)
class Backend:
    name: str
    libraries: tuple[str, ...]  # any of these makes a directory this backend's
    package: str = ""  # the Python package that has it, and where in that the libraries are
    folder: str = ""
    extension: str = ""  # of a backend that runs through its Python API: what Python loads, without its suffix
    version_files: tuple[str, ...] = ()  # in the package: "version = '1.2.3'"


OPENVINO = Backend("OpenVINO", ("libopenvino_c.so*",), "openvino", "libs")
OPENCV_DNN = Backend("OpenCV DNN", ("libopencv_dnn.a",), folder="lib")
BACKENDS = (
    OPENVINO,
    OPENCV_DNN,
    Backend(
        "ONNX Runtime",
        ("onnxruntime_pybind11_state*.so", "libonnxruntime.so*"),
        "onnxruntime",
        "capi",
        "capi/onnxruntime_pybind11_state",
        ("capi/build_and_package_info.py",),
    ),
    Backend(
        "MindSpore",
        ("libmindspore_core.so*", "_c_expression*.so"),
        "mindspore",
        "lib",
        "_c_expression",
        ("version.py",),
    ),
    Backend("PyTorch", ("libtorch_python.so", "libtorch.so*"), "torch", "lib", "_C", ("version.py",)),
)


def find() -> list[Path]:
    """Those of the packages installed for this interpreter. Imports none of them."""
    found = []
    for backend in BACKENDS:
        if backend.extension or not backend.package:
            continue
        spec = importlib.util.find_spec(backend.package)
        for place in (spec.submodule_search_locations or []) if spec else []:
            directory = Path(place) / backend.folder
            if _has(directory, backend):
                found.append(directory)
    return found


def check(directory: Path, seconds: float = library_trial.SECONDS) -> tuple[Path, list[str]]:
    """The directory with the libraries, and a line for each backend that can be used. Raises Refusal without one."""
    if not directory.is_dir():
        raise Refusal(f"{directory} is not a directory" if directory.exists() else f"there is no directory {directory}")
    if not os.access(directory, os.R_OK | os.X_OK):
        raise Refusal(f"{directory} may not be read by this user")
    given, directory = directory, _libraries_of(directory)
    recognised = [backend for backend in BACKENDS if _has(directory, backend)]
    if not recognised:
        raise Refusal(_nothing_in(given))
    judged = [_judged(backend, directory, seconds) for backend in recognised]
    if not any(usable for usable, _ in judged):
        raise Refusal("\n".join(text for _, text in judged))
    return directory, [text for _, text in judged]


# ---- recognising -----------------------------------------------------------------------------------------------------


def _has(directory: Path, backend: Backend) -> bool:
    return any(any(directory.glob(pattern)) for pattern in backend.libraries)


def _libraries_of(directory: Path) -> Path:
    """Two directories stand for the one with the libraries in it: what the recipe of the embedded backend installed,
    and the package mindspore, whose extension lies above its libraries.
    """
    for file in ("servoir_backend.json", "_c_expression*.so"):
        if any(directory.glob(file)) and (directory / "lib").is_dir():
            return directory / "lib"
    return directory


def _nothing_in(directory: Path) -> str:
    sought = ", ".join(f"{' or '.join(backend.libraries)} ({backend.name})" for backend in BACKENDS)
    names = sorted(entry.name + "/" * entry.is_dir() for entry in directory.iterdir())
    there = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "") if names else "nothing"
    hint = "".join(
        f"; did you mean {directory / folder}?"
        for backend in BACKENDS
        for folder in (backend.folder, f"{backend.package}/{backend.folder}")
        if _has(directory / folder, backend)
    )
    return f"{directory} has the libraries of no known backend: looked for {sought}, there is {there}{hint}"


# ---- judging ---------------------------------------------------------------------------------------------------------


def _judged(backend: Backend, directory: Path, seconds: float) -> tuple[bool, str]:
    """Whether the backend can be used, and a line that says so, or why not."""
    try:
        return True, _judge(backend, directory, seconds)
    except Refusal as refusal:
        return False, f"{backend.name} in {directory} cannot be used: {refusal}"


def _judge(backend: Backend, directory: Path, seconds: float) -> str:
    if backend is OPENCV_DNN:
        return _judge_embedded(directory)
    if backend.extension:
        package = directory.parent
        library = _extension(backend, package)
        _check_closure(library, [directory, package])
        _load(library, seconds)
        version = _version_of_package(backend, package) or "of unknown version"
        return (
            f"{backend.name} {version} in {directory}: its library loads; this is the first place where the package"
            f" {backend.package} is looked for (it runs through Python {_python()}, no plug-in is needed)"
        )
    library = max((file for file in directory.glob(backend.libraries[0])), key=lambda file: file.name)
    _check_closure(library, [directory])
    _check_headers(directory)
    version = _load(library, seconds).version.partition("-")[0]
    if not version:
        raise Refusal(f"{library} has no function ov_get_openvino_version: it is not OpenVINO's, or older than 2022.1")
    return f"{backend.name} {version} in {directory}: its plug-in is built"


def _judge_embedded(directory: Path) -> str:
    about = directory.parent / "servoir_backend.json"
    try:
        said = json.loads(about.read_text())
        version, variant = said["version"], said["variant"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refusal(
            f"{about} cannot be read ({type(error).__name__}: {error}); third_party/opencv_dnn/build.sh writes it, and"
            f" no other static build of OpenCV is known to have what the plug-in needs"
        ) from error
    config = directory / "cmake" / "opencv5" / "OpenCVConfig.cmake"
    if not config.is_file():
        raise Refusal(f"there is no {config}: the installation is not complete")
    library = directory / "libopencv_dnn.a"
    elf = _elf(library)
    _check_machine(library, elf)
    ours = _compilers_cxx11_strings()
    if None not in {ours, elf.cxx11_strings} and ours != elf.cxx11_strings:
        raise Refusal(
            f"{library} was compiled with _GLIBCXX_USE_CXX11_ABI={elf.cxx11_strings:d}, and the compiler here"
            f" ({_compiler()}) has {ours:d}: they cannot be linked"
        )
    return f"{OPENCV_DNN.name} {version} ({variant}) in {directory}: its plug-in is built, with OpenCV inside"


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _extension(backend: Backend, package: Path) -> Path:
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
        f"it is not the Python package {backend.package}, through which {backend.name} is run: there is no"
        f" {stem}{suffixes[0]} in {place}; pip install {backend.package}, and give {backend.package}/{backend.folder}"
    )


def _check_headers(directory: Path) -> None:
    # Where cpp/src/backends/CMakeLists.txt looks.
    places = [directory.parent / "include", directory / "include", directory.parent.parent / "include"]
    if not any((place / "openvino/c/openvino.h").is_file() for place in places):
        raise Refusal(
            f"there is no openvino/c/openvino.h, which its plug-in is compiled against, in any of"
            f" {', '.join(map(str, places))}"
        )


def _load(library: Path, seconds: float) -> library_trial.Trial:
    trial = library_trial.load(library, seconds)
    if trial.problem:
        raise Refusal(f"{library} {trial.problem}")
    return trial


def _elf(library: Path) -> ElfFile:
    try:
        return read_elf(library)
    except ElfError as error:
        raise Refusal(f"{library} {error}") from error


def _check_machine(library: Path, elf: ElfFile) -> None:
    here = machine_of(platform.machine())
    if elf.machine != here:
        raise Refusal(f"{library} is built for {elf.machine}, this machine is {here}")


def _check_closure(library: Path, directories: list[Path]) -> None:
    """The library and those beside it that it needs: their machine, and the C++ and C library they need."""
    offered = _versions_here()
    waiting, seen = [library], {library.name}
    while waiting:
        file = waiting.pop()
        elf = _elf(file)
        _check_machine(file, elf)
        if not elf.shared:
            raise Refusal(f"{file} is no shared object")
        for family, (best, where) in offered.items():
            wanted = newest(elf.versions_needed, family)
            if wanted and version_number(wanted, family) > version_number(best, family):
                raise Refusal(
                    f"{file} needs {wanted}, and {where} has {best} at most: it was built for a newer system; take an"
                    f" older release of it, or a newer system"
                )
        for name in elf.needed:
            found = next((place / name for place in directories if (place / name).is_file()), None)
            if found and name not in seen:
                seen.add(name)
                waiting.append(found)


def _versions_here() -> dict[str, tuple[str, str]]:
    """Of each family of symbol versions the newest that this machine has, and where it is."""
    versions = {}
    path = library_trial.load("libstdc++.so.6").libstdcxx
    if path:
        offered = read_elf(Path(path)).versions_offered
        versions = {family: (newest(offered, family), path) for family in ("GLIBCXX", "CXXABI")}
    libc, version = platform.libc_ver()
    if libc == "glibc":
        versions["GLIBC"] = (f"GLIBC_{version}", "the C library here")
    return versions


def _compiler() -> str:
    return os.environ.get("CXX") or "c++"


def _compilers_cxx11_strings() -> bool | None:
    """None when there is no compiler yet: build.sh installs one later."""
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
    return None if found is None else found[1] == "1"


def _version_of_package(backend: Backend, package: Path) -> str:
    for name in backend.version_files:
        file = package / name
        text = file.read_text(errors="replace") if file.is_file() else ""
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
