"""What becomes of broken libraries: each has its own message, and everything else goes on working."""

from __future__ import annotations

import importlib.machinery
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import servoir
from servoir import backends, log
from servoir._core import NativeBackend
from servoir.backends import native, openvino
from servoir.backends.examination import examine
from servoir.backends.recorded import RecordedDirectories
from servoir.errors import BackendError
from support.libraries import FAULTS, MESSAGES, change_machine, compile_library, fake_openvino
from support.models import onnx_models

PACKAGES = Path(servoir.__file__).parents[1]


@pytest.fixture(autouse=True)
def nothing_loaded() -> Iterator[None]:
    openvino.load.cache_clear()
    yield
    openvino.load.cache_clear()


def missing(place: Path) -> str:
    place.rmdir()
    return f"{place} (SERVOIR_OPENVINO_DIR): does not exist"


def empty(place: Path) -> str:
    return f"{place} (SERVOIR_OPENVINO_DIR): has no libopenvino_c.so, libopenvino_c.so.*"


def no_directory(place: Path) -> str:
    (place / "libopenvino_c.so").symlink_to(place)
    return "libopenvino_c.so (SERVOIR_OPENVINO_DIR): is not a regular file"


def no_elf_file(place: Path) -> str:
    (place / "libopenvino_c.so.2310").write_text("<html>404 Not Found</html>")
    return "libopenvino_c.so.2310 (SERVOIR_OPENVINO_DIR): is not an ELF file (26 bytes)"


def truncated(place: Path) -> str:
    library = fake_openvino(place)
    os.truncate(library, library.stat().st_size // 2)
    return f"is truncated or damaged: the file has {library.stat().st_size} bytes, but its headers speak of"


def other_machine(place: Path) -> str:
    change_machine(fake_openvino(place))
    here, there = ("AArch64", "x86-64") if os.uname().machine == "aarch64" else ("x86-64", "AArch64")
    return f"is built for {there}, this process is {here}"


def other_library(place: Path) -> str:
    compile_library(place / "libopenvino_c.so", "", "-Wl,-soname,libother.so.1")
    return "is another library: its name (soname) is libother.so.1, not libopenvino_c.so, libopenvino_c.so.*"


def dependency_missing(place: Path) -> str:
    part = compile_library(place / "libpart.so", "", "-Wl,-soname,libpart_of_openvino.so.1")
    fake_openvino(place, "", "2026.4.0", "-Wl,--no-as-needed", str(part))
    part.unlink()
    return "cannot be loaded because of a library that it needs: libpart_of_openvino.so.1: cannot open shared object"


def dependency_aborts(place: Path) -> str:
    part = compile_library(place / "libpart.so", FAULTS["aborts"], "-Wl,-soname,libpart.so")
    fake_openvino(place, "", "2026.4.0", "-Wl,--no-as-needed,-rpath,$ORIGIN", str(part))
    return MESSAGES["aborts"]


def old(place: Path) -> str:
    fake_openvino(place)
    return "is version '2023.1.0-12185-fake'; OpenVINO 2024.6 or newer is needed"


def no_version(place: Path) -> str:
    fake_openvino(place, "", "")
    return "has no function ov_get_openvino_version"


def incomplete(place: Path) -> str:
    fake_openvino(place, "", "2024.6.0-1-fake")
    return "is version '2024.6.0-1-fake' and has no function ov_get_error_info; OpenVINO 2024.6 or newer is needed"


def at_load(fault: str) -> Callable[[Path], str]:
    def make(place: Path) -> str:
        fake_openvino(place, fault)
        return MESSAGES[fault]

    make.__name__ = fault.replace(" ", "_")
    return make


TABLE = [
    missing,
    empty,
    no_directory,
    no_elf_file,
    truncated,
    other_machine,
    other_library,
    dependency_missing,
    dependency_aborts,
    old,
    no_version,
    incomplete,
    *(at_load(fault) for fault in MESSAGES),
]


@pytest.mark.parametrize("make", TABLE, ids=lambda make: make.__name__)
def test_a_broken_library_is_refused_with_its_reason(
    make: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "libs"
    place.mkdir()
    expected = make(place)
    if expected == MESSAGES["hangs"]:
        monkeypatch.setenv("SERVOIR_TRIAL_SECONDS", "3")
    path = onnx_models.add(tmp_path / "add.onnx")
    places = [(str(place), "SERVOIR_OPENVINO_DIR")]
    logged: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(openvino, "search_places", lambda: places)
        patch.setattr(log, "warning", lambda text, *args: logged.append(str(text) % args))
        with pytest.raises(BackendError) as raised:
            openvino.load()
        assert expected in str(raised.value)
        # The model is run by another one, and the log says why.
        assert backends.open_model([path], None, None, 1, backends.CPU, {}).backend == "onnxruntime"
        assert "the model is run by onnxruntime instead" in logged[-1]
        assert expected in logged[-1]
    # Behind a broken one a good one is found, and the doctor tells both.
    monkeypatch.setenv("SERVOIR_OPENVINO_DIR", str(place))
    found = examine("openvino")
    assert found.usable, found
    assert any(expected in f"{one.path} ({one.place}): {one.reason}" for one in found.refused), found.refused
    logged.clear()
    with monkeypatch.context() as patch:
        patch.setattr(log, "warning", lambda text, *args: logged.append(str(text) % args))
        assert openvino.load().version == found.version
    assert logged[0].startswith("openvino is not taken from ")
    assert expected.partition("): ")[2] in logged[0] if "): " in expected else expected in logged[0]


def test_a_directory_that_may_not_be_read(tmp_path: Path) -> None:
    """The superuser may read everything, so this runs as another user, in a place that every user may reach."""
    nobody = 65534 if os.geteuid() == 0 else os.geteuid()
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        for file in (native.plugin_path("openvino"), native.trial_program()):
            shutil.copy(file, directory)
        place = Path(directory) / "libs"
        fake_openvino(place)
        place.chmod(0)
        try:
            os.seteuid(nobody)
            report = NativeBackend.examine(
                f"{directory}/libservoir_openvino.so",
                [(str(place), "test")],
                trial_program=f"{directory}/servoir_trial_load",
                trial_seconds=60,
            )
        finally:
            os.seteuid(os.getuid())
            place.chmod(0o755)
    assert report["refused"][0] == {"path": str(place), "place": "test", "reason": "cannot be read: Permission denied"}


def test_what_hangs_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_openvino(tmp_path, "hangs")
    monkeypatch.setenv("SERVOIR_TRIAL_SECONDS", "1")
    monkeypatch.setattr(openvino, "search_places", lambda: [(str(tmp_path), "test")])
    with pytest.raises(BackendError, match="hangs when it is loaded"):
        openvino.load()
    monkeypatch.setattr(native, "trial_program", lambda: "/bin/false")  # would be refused in another way
    with pytest.raises(BackendError, match="hangs when it is loaded"):
        openvino.load()


def test_of_two_versions_the_one_that_is_named_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are too old: the refusals tell which were looked at, in which order."""
    for version in ("2023.1.0", "2022.3.0"):
        fake_openvino(tmp_path / version, "", version)
    for first, second in (("2023.1.0", "2022.3.0"), ("2022.3.0", "2023.1.0")):
        monkeypatch.setenv("SERVOIR_OPENVINO_DIR", str(tmp_path / first))
        recorded = RecordedDirectories(first=(str(tmp_path / second),))
        monkeypatch.setattr(openvino, "recorded_directories", lambda plugins, backend, recorded=recorded: recorded)
        reasons = [one.reason for one in examine("openvino").refused]
        assert reasons == [f"is version '{one}'; OpenVINO 2024.6 or newer is needed" for one in (first, second)]


def test_without_the_program_libraries_are_loaded_untried_and_that_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logged: list[str] = []
    monkeypatch.setattr(log, "warning", lambda text, *args: logged.append(str(text) % args))
    monkeypatch.setattr(native, "trial_program", lambda: "/no/such/program")
    with tempfile.TemporaryDirectory() as directory:  # a plug-in that was not tried before
        plugin = shutil.copy(native.plugin_path("openvino"), directory)
        loaded = native.load_native(plugin, openvino.search_places())
    assert loaded.version
    assert "loaded without a trial" in logged[-1]
    assert "'/no/such/program' cannot be tried: No such file or directory" in logged[-1]


# ---- packages -------------------------------------------------------------------------------------------------------


def make_package(site: Path, fault: str) -> Path:
    """A package torch whose extension is broken."""
    package = site / "torch"
    (package / "lib").mkdir(parents=True)
    (package / "__init__.py").write_text("from torch import _C\n__version__ = 'broken'\n")
    compile_library(package / f"_C{importlib.machinery.EXTENSION_SUFFIXES[0]}", FAULTS[fault])
    return package


def import_in_a_process(*path: Path, **environment: str) -> str:
    script = """
from servoir.errors import BackendError
from servoir.backends.python_package import import_package
try:
    print("imported", import_package("torch").__version__)
except BackendError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": ":".join(map(str, [*path, PACKAGES])), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("fault", MESSAGES)
def test_a_broken_package_is_not_imported(fault: str, tmp_path: Path) -> None:
    package = make_package(tmp_path, fault)
    said = import_in_a_process(tmp_path, SERVOIR_TRIAL_SECONDS="1" if fault == "hangs" else "60")
    assert said.startswith(f"the package torch in {package} cannot be used: {package}/_C.")
    assert MESSAGES[fault] in said


def test_behind_a_broken_package_a_good_one_is_found(tmp_path: Path) -> None:
    broken = make_package(tmp_path / "broken", "aborts")
    good = tmp_path / "good" / "torch"
    good.mkdir(parents=True)
    (good / "__init__.py").write_text("__version__ = 'good'\n")
    compile_library(good / f"_C{importlib.machinery.EXTENSION_SUFFIXES[0]}", FAULTS[""])
    said = import_in_a_process(tmp_path / "good", SERVOIR_TORCH_DIR=str(broken))
    assert said.startswith("imported good\n")
    assert f"the package torch is not taken from {broken} (SERVOIR_TORCH_DIR)" in said
    assert MESSAGES["aborts"] in said


def test_the_doctor_tells_of_a_broken_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = make_package(tmp_path, "crashes")
    monkeypatch.setenv("SERVOIR_TORCH_DIR", str(broken / "lib"))
    found = examine("torch")
    assert found.refused[0].path == str(broken / "lib")
    assert found.refused[0].place == "SERVOIR_TORCH_DIR"
    assert MESSAGES["crashes"] in found.refused[0].reason
    assert examine("onnxruntime").usable
