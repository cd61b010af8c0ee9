"""The wheel in dist/: complete, self-contained, and without a trace of where it was built."""

from __future__ import annotations

import base64
import csv
import email
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from servoir.backends.catalogue import records
from support import ROOT

# What every Linux has; all else has to be in the wheel.
SYSTEM_LIBRARIES = re.compile(
    r"(libc|libm|libdl|librt|libpthread|libgcc_s|libstdc\+\+|ld-linux-x86-64|ld-linux-aarch64)\.so\.\d+"
)


def wheel_file() -> Path:
    """The wheel that build.sh has just built; without build.sh, the wheel in dist/ for this interpreter."""
    named = os.environ.get("SERVOIR_WHEEL")
    if named:
        return Path(named)
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    found = sorted((ROOT / "dist").glob(f"servoir-*-{tag}-{tag}-*.whl"))
    assert len(found) == 1, f"dist/ has {len(found)} wheels for {tag}, one is needed: bash build.sh"
    return found[0]


@pytest.fixture(scope="module")
def wheel() -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(wheel_file()) as opened:
        yield opened


@pytest.fixture(scope="module")
def unpacked(wheel: zipfile.ZipFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    wheel.extractall(directory)
    return directory


@pytest.fixture(scope="module")
def shared_objects(unpacked: Path) -> list[Path]:
    found = [path for path in unpacked.rglob("*") if re.search(r"\.so(\.|$)", path.name)]
    assert found
    return found


def dynamic(path: Path) -> dict[str, list[str]]:
    """Tags of the dynamic section that have a text: DT_NEEDED, DT_RUNPATH, DT_RPATH, DT_SONAME."""
    tags: dict[str, list[str]] = {}
    with path.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".dynamic")
        assert isinstance(section, DynamicSection)
        for tag in section.iter_tags():
            for name in ("needed", "runpath", "rpath", "soname"):
                if hasattr(tag, name):
                    tags.setdefault(name, []).append(getattr(tag, name))
    return tags


def test_its_tag_says_the_interpreter_and_a_manylinux_platform() -> None:
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert re.fullmatch(rf"servoir-[0-9.]+-{tag}-{tag}-(manylinux[0-9_a-z]+\.?)+\.whl", wheel_file().name)


def test_every_source_file_of_the_package_is_in_it(wheel: zipfile.ZipFile) -> None:
    package = ROOT / "python"
    wanted = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.endswith(".so")
    }
    assert "servoir/py.typed" in wanted
    assert "servoir/_core.pyi" in wanted
    assert wanted - set(wheel.namelist()) == set()


def test_nothing_strange_is_in_it(wheel: zipfile.ZipFile) -> None:
    kinds = {".py", ".pyi", ".typed", ".proto", ".json", ".so", ".txt"}
    for name in wheel.namelist():
        if name.endswith("/"):
            continue
        path = PurePosixPath(name)
        known = path.suffix in kinds or path.parts[0].endswith(".dist-info") or path.parts[0] == "servoir.libs"
        assert known or name == "servoir/plugins/servoir_trial_load", name
        assert path.parts[0] in {"servoir", "servoir.libs"} or path.parts[0].endswith(".dist-info"), name


def test_the_extension_is_in_it(wheel: zipfile.ZipFile) -> None:
    assert [name for name in wheel.namelist() if re.fullmatch(r"servoir/_core\.[^/]*\.so", name)]


def test_the_program_that_tries_libraries_is_in_it_and_may_be_run(wheel: zipfile.ZipFile) -> None:
    mode = wheel.getinfo("servoir/plugins/servoir_trial_load").external_attr >> 16
    assert mode & 0o111 == 0o111, oct(mode)


def test_the_plug_in_is_in_it_where_openvino_was(wheel: zipfile.ZipFile) -> None:
    plug_ins = [name for name in wheel.namelist() if re.fullmatch(r"servoir/plugins/[^/]*openvino[^/]*\.so", name)]
    assert len(plug_ins) == (1 if importlib.util.find_spec("openvino") else 0)


def test_it_remembers_no_directory_of_the_build(wheel: zipfile.ZipFile) -> None:
    """Unless -p named some."""
    assert json.loads(wheel.read("servoir/plugins/backend_dirs.json"))["directories"] == {}


def test_the_metadata_is_that_of_the_project(wheel: zipfile.ZipFile) -> None:
    [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = email.message_from_bytes(wheel.read(name))
    [version] = re.findall(r"project\(servoir VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text())
    assert metadata["Name"] == "servoir"
    assert metadata["Version"] == version
    assert metadata["Requires-Python"] == ">=3.10"
    extras = {"all", "encryption", *filter(None, (record.extra for record in records().values()))}
    assert set(metadata.get_all("Provides-Extra")) == extras
    needed = [requirement for requirement in metadata.get_all("Requires-Dist") if "extra ==" not in requirement]
    assert sorted(re.split(r"[^\w-]", requirement)[0] for requirement in needed) == ["grpcio", "numpy"]


def test_it_installs_the_command(wheel: zipfile.ZipFile) -> None:
    [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
    assert wheel.read(name).decode().split() == ["[console_scripts]", "servoir", "=", "servoir.cli:main"]
    assert "servoir/cli/encrypt.py" in wheel.namelist()


def test_it_has_the_licences_of_what_is_grafted(wheel: zipfile.ZipFile) -> None:
    names = [PurePosixPath(name).name for name in wheel.namelist()]
    grafted = {re.split(r"[-.]", name)[0] for name in names if re.match(r"lib.*\.so\.", name)}
    known = {
        "libnghttp2": "libnghttp2",
        "libsimdjson": "libsimdjson",
        "libssl": "libssl",
        "libcrypto": "libssl",
        "libfmt": "libfmt",
    }
    for library in grafted:
        assert f"{known[library]}.txt" in names


def test_its_record_has_every_file_with_its_hash(wheel: zipfile.ZipFile) -> None:
    [record] = [name for name in wheel.namelist() if name.endswith(".dist-info/RECORD")]
    rows = {row[0]: row[1] for row in csv.reader(wheel.read(record).decode().splitlines())}
    assert set(rows) == {name for name in wheel.namelist() if not name.endswith("/")}
    for name, recorded in rows.items():
        if name != record:
            digest = base64.urlsafe_b64encode(hashlib.sha256(wheel.read(name)).digest()).rstrip(b"=").decode()
            assert recorded == f"sha256={digest}", name


def test_no_file_names_the_place_it_was_built_at(unpacked: Path) -> None:
    for path in unpacked.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert str(ROOT).encode() + b"/" not in content, path
            if path.suffix == ".so":
                content = content.replace(b"/tmp/__opencv_t", b"")  # OpenCV's place for temporary files
                home = str(Path.home() / ".cache").encode()
                assert [place for place in (b"/build/", b"pip-build", b"/tmp/", home) if place in content] == [], path


def test_libraries_are_the_systems_or_in_the_wheel(unpacked: Path, shared_objects: list[Path]) -> None:
    grafted = {path.name for path in (unpacked / "servoir.libs").glob("*")}
    for path in shared_objects:
        for library in dynamic(path).get("needed", []):
            assert library in grafted or SYSTEM_LIBRARIES.fullmatch(library), f"{path.name} needs {library}"


def test_libraries_are_looked_for_beside_the_file_only(unpacked: Path, shared_objects: list[Path]) -> None:
    for path in shared_objects:
        tags = dynamic(path)
        for search_path in tags.get("rpath", []) + tags.get("runpath", []):
            for directory in search_path.split(":"):
                assert directory.startswith("$ORIGIN"), f"{path.name} looks in {directory}"
                place = Path(os.path.normpath(directory.replace("$ORIGIN", str(path.parent))))
                assert place.is_relative_to(unpacked), f"{path.name} looks in {directory}"


def test_backends_are_not_linked_nor_packed(unpacked: Path, shared_objects: list[Path]) -> None:
    for path in shared_objects:
        assert not any("openvino" in library for library in dynamic(path).get("needed", [])), path
    assert not list((unpacked / "servoir.libs").glob("*openvino*"))


def test_its_own_code_is_stripped(shared_objects: list[Path]) -> None:
    if "debug" in os.environ.get("SERVOIR_BUILD_TYPE", "").lower():
        pytest.skip("a debug build keeps its symbols")
    for path in shared_objects:
        with path.open("rb") as file:
            sections = {section.name for section in ELFFile(file).iter_sections()}
        assert not sections & {".symtab", ".debug_info"}, path


def test_the_extension_gives_away_one_symbol(unpacked: Path) -> None:
    [extension] = (unpacked / "servoir").glob("_core.*.so")
    with extension.open("rb") as file:
        symbols = ELFFile(file).get_section_by_name(".dynsym").iter_symbols()  # type: ignore[union-attr]
        ours = {
            symbol.name
            for symbol in symbols
            if symbol["st_shndx"] != "SHN_UNDEF"
            and symbol["st_info"]["bind"] == "STB_GLOBAL"
            and "servoir" in symbol.name
        }
    assert ours <= {"PyInit__core"}


def test_it_works_from_any_directory(unpacked: Path, tmp_path: Path) -> None:
    """Unpacked next to the interpreter's own packages, isolated from the sources and from what is installed of us."""
    script = f"""
import sys
sys.path.insert(0, {str(unpacked)!r})
import servoir._core, servoir.client, servoir.server
assert servoir._core.__file__.startswith({str(unpacked)!r}), servoir._core.__file__
print(servoir._core.__version__, servoir._core.usable_cores() > 0)
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    version = wheel_file().name.split("-")[1]
    assert done.stdout.split() == [version, "True"]
