"""build.sh -p: which backend a directory has, its version, and why one cannot be used.

The libraries here are compiled for the tests; where a backend is installed, its own are looked at as well.
"""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

SUFFIX = importlib.machinery.EXTENSION_SUFFIXES[0]
VERSION = """
struct version { const char* number; const char* description; };
int ov_get_openvino_version(struct version* out) { out->number = "2031.4.1-22-gabc"; out->description = ""; return 0; }
"""

pytestmark = pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")


def compile_library(file: Path, code: str = "int nothing;", *options: str, language: str = "c") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["c++", "-x", language, "-", "-x", "none", "-shared", "-fPIC", "-o", str(file), *options],
        input=code,
        text=True,
        timeout=60,
        check=True,
    )
    return file


def openvino_at(directory: Path, code: str = VERSION, *options: str) -> Path:
    libraries = directory / "openvino" / "libs"
    compile_library(libraries / "libopenvino_c.so.3141", code, *options)
    header = directory / "openvino" / "include" / "openvino" / "c" / "openvino.h"
    header.parent.mkdir(parents=True)
    header.touch()
    return libraries


def package_at(site: Path, name: str, extension: str, library: str = "", suffix: str = SUFFIX) -> Path:
    package = site / name
    (package / "lib").mkdir(parents=True)
    (package / "__init__.py").touch()
    compile_library(package / (extension + suffix))
    if library:
        compile_library(package / library)
    return package


def check(directory: Path, code: str = "main(['check', sys.argv[2]])") -> subprocess.CompletedProcess[str]:
    script = f"import sys; sys.path.insert(0, sys.argv[1]); from backend_dirs import *; sys.exit({code})"
    return subprocess.run(
        [sys.executable, "-c", script, str(ROOT / "scripts"), str(directory)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def recognised(directory: Path) -> tuple[str, list[str]]:
    done = check(directory)
    assert (done.returncode, done.stderr) == (0, "")
    first, *lines = done.stdout.splitlines()
    return first, lines


def refused(directory: Path) -> str:
    done = check(directory)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("build.sh: -p: ")
    return done.stderr


# ---- recognised ------------------------------------------------------------------------------------------------------


def test_openvino_says_its_version_itself(tmp_path: Path) -> None:
    libraries = openvino_at(tmp_path)
    assert recognised(libraries) == (str(libraries), [f"OpenVINO 2031.4.1 in {libraries}: its plug-in is built"])


@pytest.mark.parametrize(
    ("name", "package", "extension", "library", "given"),
    [
        ("ONNX Runtime", "onnxruntime", "capi/onnxruntime_pybind11_state", "", "capi"),
        ("MindSpore", "mindspore", "_c_expression", "lib/libmindspore_core.so", "lib"),
        ("PyTorch", "torch", "_C", "lib/libtorch_python.so", "lib"),
    ],
)
def test_a_backend_that_runs_through_python_is_loaded_and_remembered(
    tmp_path: Path, name: str, package: str, extension: str, library: str, given: str
) -> None:
    place = package_at(tmp_path, package, extension, library)
    (tmp_path / f"{package}-7.8.9.dist-info").mkdir()
    (tmp_path / f"{package}-7.8.9.dist-info" / "METADATA").write_text("Name: x\nVersion: 7.8.9\n")
    first, [line] = recognised(place / given)
    assert first == str(place / given)
    assert line.startswith(f"{name} 7.8.9 in {place / given}: its library loads; this is the first place where")


def test_the_package_mindspore_stands_for_its_libraries(tmp_path: Path) -> None:
    package = package_at(tmp_path, "mindspore", "_c_expression", "lib/libmindspore_core.so")
    (package / "version.py").write_text("__version__ = '2.9.1'\n")
    first, [line] = recognised(package)
    assert first == str(package / "lib")
    assert line.startswith("MindSpore 2.9.1 in ")


def embedded_at(prefix: Path, **more: object) -> Path:
    (prefix / "lib" / "cmake" / "opencv5").mkdir(parents=True)
    (prefix / "lib" / "cmake" / "opencv5" / "OpenCVConfig.cmake").touch()
    about = {"name": "opencv_dnn", "version": "5.0.0", "engine": "cpu", "variant": "avx2", **more}
    (prefix / "servoir_backend.json").write_text(json.dumps(about))
    (prefix / "lib" / "libopencv_dnn.a").touch()
    return prefix


@pytest.mark.parametrize("given", ["", "lib"])
def test_the_embedded_backend_is_recognised_by_its_prefix_and_by_its_libraries(tmp_path: Path, given: str) -> None:
    prefix = embedded_at(tmp_path)
    first, [line] = recognised(prefix / given)
    assert first == str(prefix / "lib")
    assert line == f"OpenCV DNN 5.0.0 (avx2) in {prefix}/lib: its plug-in is built, with OpenCV DNN inside"


def test_several_backends_in_one_directory_are_all_looked_at(tmp_path: Path) -> None:
    libraries = openvino_at(tmp_path)
    compile_library(libraries / "libtorch.so")
    _, [openvino, torch] = recognised(libraries)
    assert openvino.endswith("its plug-in is built")
    assert "PyTorch in " in torch
    assert "cannot be used: it is not the Python package torch, through which PyTorch is run" in torch


@pytest.mark.parametrize(
    ("package", "folder", "text"),
    [
        ("openvino", "libs", "its plug-in is built"),
        ("onnxruntime", "capi", "its library loads"),
        ("mindspore", "lib", "its library loads"),
        ("torch", "lib", "its library loads"),
    ],
)
def test_what_is_installed_is_recognised_with_its_version(package: str, folder: str, text: str) -> None:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{package} is not installed")
    directory = Path(spec.submodule_search_locations[0]) / folder
    first, [line] = recognised(directory)
    assert first == str(directory.resolve())
    assert f" {importlib.metadata.version(package)} in {directory}: {text}" in line


# ---- refused ---------------------------------------------------------------------------------------------------------


def test_a_library_for_another_machine(tmp_path: Path) -> None:
    libraries = openvino_at(tmp_path)
    file = libraries / "libopenvino_c.so.3141"
    content = bytearray(file.read_bytes())
    content[18] = 62 if platform.machine() == "aarch64" else 183
    file.write_bytes(content)
    assert f"{file} cannot be loaded: {file}: " in refused(libraries)


def test_a_library_that_needs_a_newer_system(tmp_path: Path) -> None:
    code = '#include <string>\nextern "C" int length(int n) { return int((std::to_string(n) + "x").size()); }\n'
    libraries = openvino_at(tmp_path)
    file = compile_library(libraries / "libopenvino_c.so.3141", code, language="c++")
    content = file.read_bytes()
    needed = max(part.split(b"\0")[0] for part in content.split(b"\0") if part.startswith(b"GLIBCXX_3.4."))
    newer = b"GLIBCXX_9" + b".9" * ((len(needed) - 9) // 2) + b"9" * ((len(needed) - 9) % 2)
    file.write_bytes(content.replace(needed, newer))
    text = refused(libraries)
    assert f"version `{newer.decode()}' not found (required by {file})" in text


def test_a_library_whose_dependency_is_missing(tmp_path: Path) -> None:
    gone = compile_library(tmp_path / "libgone.so", "int gone() { return 1; }", "-Wl,-soname,libgone.so")
    libraries = openvino_at(
        tmp_path, VERSION + "int gone(); int here() { return gone(); }", "-Wl,--no-as-needed", str(gone)
    )
    gone.unlink()
    text = refused(libraries)
    assert f"{libraries}/libopenvino_c.so.3141 cannot be loaded: libgone.so: cannot open shared object file" in text


def test_a_library_with_a_symbol_that_nothing_defines(tmp_path: Path) -> None:
    libraries = openvino_at(tmp_path, VERSION + "int nowhere(); int here() { return nowhere(); }")
    assert "undefined symbol: nowhere" in refused(libraries)


def test_a_dependency_beside_it_for_another_machine_is_named(tmp_path: Path) -> None:
    directory = tmp_path / "openvino" / "libs"
    beside = compile_library(directory / "libbeside.so", "int beside() { return 1; }", "-Wl,-soname,libbeside.so")
    code = VERSION + "int beside(); int here() { return beside(); }"
    libraries = openvino_at(tmp_path, code, "-Wl,-rpath,$ORIGIN", str(beside))
    content = bytearray(beside.read_bytes())
    content[18] = 243
    beside.write_bytes(content)
    assert "libopenvino_c.so.3141 cannot be loaded: libbeside.so: " in refused(libraries)


def test_a_library_that_aborts_when_it_is_loaded(tmp_path: Path) -> None:
    code = VERSION + "void abort(void); __attribute__((constructor)) static void start(void) { abort(); }"
    libraries = openvino_at(tmp_path, code)
    assert "libopenvino_c.so.3141 ends the process that loads it with SIGABRT" in refused(libraries)


def test_a_library_that_ends_the_process_with_success(tmp_path: Path) -> None:
    code = VERSION + "void _exit(int); __attribute__((constructor)) static void start(void) { _exit(0); }"
    assert "ends the process that loads it with status 0" in refused(openvino_at(tmp_path, code))


def test_a_library_that_never_finishes_loading(tmp_path: Path) -> None:
    code = VERSION + "int pause(void); __attribute__((constructor)) static void start(void) { for (;;) pause(); }"
    libraries = openvino_at(tmp_path, code)
    done = check(libraries, "check(Path(sys.argv[2]), 0.5)")
    assert "libopenvino_c.so.3141 does not load: it was still at it after 0.5 s" in done.stderr


def test_a_library_that_is_none(tmp_path: Path) -> None:
    libraries = openvino_at(tmp_path)
    file = libraries / "libopenvino_c.so.3141"
    whole = file.read_bytes()
    for content, text in [
        (b"", f"cannot be loaded: {file}: file too short"),
        (b"INPUT(libopenvino_c.so.3141)", f"cannot be loaded: {file}: file too short"),
        (b"no library at all" * 1000, f"cannot be loaded: {file}: invalid ELF header"),
        (whole[:1000], "ends the process that loads it with SIGBUS, as a file does that is truncated"),
    ]:
        file.write_bytes(content)
        assert f"{file} {text}" in refused(libraries)


def test_another_library_of_that_name(tmp_path: Path) -> None:
    assert "has no function ov_get_openvino_version" in refused(openvino_at(tmp_path, "int nothing;"))


def test_openvino_without_its_headers(tmp_path: Path) -> None:
    compile_library(tmp_path / "libs" / "libopenvino_c.so", VERSION)
    text = refused(tmp_path / "libs")
    assert (
        f"there is no openvino/c/openvino.h, which its plug-in is compiled against, in any of {tmp_path}/include"
        in text
    )


def test_a_package_for_another_python(tmp_path: Path) -> None:
    place = package_at(tmp_path, "torch", "_C", "lib/libtorch_python.so", suffix=".cpython-39-x86_64-linux-gnu.so")
    text = refused(place / "lib")
    assert "it is for another Python: there is _C.cpython-39-x86_64-linux-gnu.so, and the wheel is for Python" in text
    assert f"which loads _C{SUFFIX}" in text


def test_a_library_of_c_where_a_python_package_is_needed(tmp_path: Path) -> None:
    compile_library(tmp_path / "lib" / "libonnxruntime.so.1.30.0")
    text = refused(tmp_path / "lib")
    assert "it is not the Python package onnxruntime, through which ONNX Runtime is run" in text
    assert "pip install onnxruntime, and give onnxruntime/capi" in text


def test_an_embedded_backend_that_is_not_complete(tmp_path: Path) -> None:
    prefix = embedded_at(tmp_path)
    (prefix / "lib" / "cmake" / "opencv5" / "OpenCVConfig.cmake").unlink()
    assert f"there is no {prefix}/lib/cmake/opencv5/OpenCVConfig.cmake" in refused(prefix)
    (prefix / "servoir_backend.json").unlink()
    assert f"{prefix}/servoir_backend.json cannot be read" in refused(prefix / "lib")


def test_an_embedded_backend_of_another_cxx_abi(tmp_path: Path) -> None:
    prefix = embedded_at(tmp_path, cxx11_abi=0)
    text = refused(prefix)
    assert "libopencv_dnn.a was compiled with _GLIBCXX_USE_CXX11_ABI=0, and the compiler here (c++) has 1" in text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_directory_that_may_not_be_read(tmp_path: Path) -> None:
    tmp_path.chmod(0)
    assert f"{tmp_path} may not be read by this user" in refused(tmp_path)
    tmp_path.chmod(0o700)
