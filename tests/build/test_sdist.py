"""The source distribution: all that a build needs, nothing else, and it is configured without the checkout.

Compiling it takes minutes and is not done here.
"""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from servoir.backends.catalogue import records
from support import ROOT

LEFT_OUT = re.compile(r"^\.ci/|(^|/)\.gitignore$")  # what only the repository needs
JUNK = re.compile(
    r"^build/|(^|/)(dist|\.git|\.venv|__pycache__|\.\w+_cache|serving_logs|unix_socket_files)/|\.(so|o|a|whl|log|pyc)$"
)

pytestmark = pytest.mark.skipif(shutil.which("cmake") is None, reason="there is no cmake")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sdist")
    script = "import sys; from scikit_build_core.build import build_sdist; build_sdist(sys.argv[1])"
    subprocess.run([sys.executable, "-c", script, str(directory)], cwd=ROOT, timeout=120, check=True)
    [made] = directory.iterdir()
    return made


@pytest.fixture(scope="module")
def unpacked(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("unpacked")
    # tarfile warns without a filter from Python 3.12 on, and does not know filters before 3.11.4.
    subprocess.run(["tar", "-xzf", archive, "-C", directory], check=True)
    [made] = directory.iterdir()
    return made


def version() -> str:
    [found] = re.findall(r"project\(servoir VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text())
    return str(found)


def test_its_name_has_the_projects_version(archive: Path, unpacked: Path) -> None:
    assert archive.name == f"servoir-{version()}.tar.gz"
    assert unpacked.name == f"servoir-{version()}"


def test_it_has_every_file_of_the_repository_that_a_build_needs(unpacked: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    wanted = [name for name in listed.stdout.splitlines() if not LEFT_OUT.search(name) and (ROOT / name).is_file()]
    assert "third_party/opencv_dnn/build.sh" in wanted
    assert [name for name in wanted if not (unpacked / name).is_file()] == []


def test_no_junk_is_in_it(archive: Path) -> None:
    with tarfile.open(archive) as opened:
        members = opened.getmembers()
    for member in members:
        _, _, name = member.name.partition("/")
        assert not JUNK.search(name), name
        assert member.isfile() or member.isdir(), name
    assert archive.stat().st_size < 4 << 20


def test_scripts_stay_executable_as_they_are(unpacked: Path) -> None:
    for name in ["build.sh", "third_party/opencv_dnn/build.sh"]:
        assert os.access(unpacked / name, os.X_OK) == os.access(ROOT / name, os.X_OK), name


def test_its_metadata_is_that_of_the_project(unpacked: Path) -> None:
    metadata = email.message_from_bytes((unpacked / "PKG-INFO").read_bytes())
    assert (metadata["Name"], metadata["Version"]) == ("servoir", version())
    extras = {"all", "encryption", *filter(None, (record.extra for record in records().values()))}
    assert set(metadata.get_all("Provides-Extra")) == extras
    text = metadata.get_payload(decode=True)
    assert isinstance(text, bytes)
    assert text.decode() == (ROOT / "README.md").read_text()


def test_a_wheel_of_it_would_have_the_same_metadata(unpacked: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from scikit_build_core.build import prepare_metadata_for_build_wheel as prepare;"
        " print(prepare(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=unpacked, timeout=120, check=True)
    [directory] = tmp_path.iterdir()
    assert directory.name == f"servoir-{version()}.dist-info"
    assert (directory / "METADATA").read_text() == (unpacked / "PKG-INFO").read_text()


def test_it_is_configured_where_it_was_unpacked(unpacked: Path, tmp_path: Path) -> None:
    pybind11 = subprocess.run(
        [sys.executable, "-m", "pybind11", "--cmakedir"], capture_output=True, text=True, timeout=60, check=True
    ).stdout.strip()
    done = subprocess.run(
        [
            *("cmake", "-S", str(unpacked), "-B", str(tmp_path), "-G", "Ninja", "-DSERVOIR_BUILD_TESTS=ON"),
            *(f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={pybind11}"),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ninja = (tmp_path / "build.ninja").read_text()
    for source in (unpacked / "cpp").rglob("*.c[cp]*"):
        if source.suffix in {".cc", ".cpp"} and "opencv_dnn" not in source.parts and "openvino" not in source.parts:
            assert str(source) in ninja, source
