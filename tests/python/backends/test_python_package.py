"""Where the packages of backends are imported from: what the user says, what the build was given, the interpreter's."""

from __future__ import annotations

import importlib.machinery
import json
import os
import subprocess
import sys
from pathlib import Path

import servoir
from servoir.backends.recorded import place
from support.libraries import compile_library

SUFFIX = importlib.machinery.EXTENSION_SUFFIXES[0]
PACKAGES = Path(servoir.__file__).parents[1]


def make(site: Path, version: str, code: str = "", suffix: str = SUFFIX) -> Path:
    """A package torch; what it says as its version tells where it was taken from."""
    package = site / "torch"
    (package / "lib").mkdir(parents=True)
    compile_library(package / f"_C{suffix}", "")  # it is tried before the package is imported
    (package / "__init__.py").write_text(f"{code}\n__version__ = '{version}'\n")
    return package


def taken(
    tmp_path: Path,
    *,
    recorded: list[Path] | None = None,
    elsewhere: bool = False,
    named: Path | None = None,
    normal: Path | None = None,
    code: str = "",
) -> tuple[str, str]:
    """What a process prints that imports torch, and what it logs. `elsewhere`: the directories were recorded for
    another interpreter or machine."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    if recorded is not None:
        (plugins / "backend_dirs.json").write_text(
            json.dumps(
                {
                    "directories": {"torch": [str(one) for one in recorded]},
                    "place": "another" if elsewhere else place(),
                }
            )
        )
    script = f"""
import sys
sys.path[:0] = {[str(PACKAGES), *([str(normal)] if normal else [])]!r}
sys.modules.setdefault("unwanted", None)
from servoir.errors import BackendError
from servoir.backends.python_package import import_package
{code}
try:
    print(import_package("torch").__version__)
except BackendError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={
            **{name: value for name, value in os.environ.items() if name != "SERVOIR_TORCH_DIR"},
            "SERVOIR_PLUGIN_DIR": str(plugins),
            **({"SERVOIR_TORCH_DIR": str(named)} if named else {}),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


def test_what_the_user_says_comes_first(tmp_path: Path) -> None:
    packages = [make(tmp_path / name, name) for name in ("user", "build", "normal")]
    assert taken(tmp_path, named=packages[0] / "lib", recorded=[packages[1] / "lib"], normal=tmp_path / "normal") == (
        "user",
        "",
    )


def test_what_the_build_was_given_comes_first_where_it_was_given(tmp_path: Path) -> None:
    """For any other interpreter, or on another machine, its own packages come first."""
    build = make(tmp_path / "build", "build")
    make(tmp_path / "normal", "normal")
    for name, elsewhere, expected in (("here", False, "build"), ("there", True, "normal")):
        (tmp_path / name).mkdir()
        found = taken(tmp_path / name, recorded=[build / "lib"], elsewhere=elsewhere, normal=tmp_path / "normal")
        assert found == (expected, "")


def test_elsewhere_it_is_the_last_resort(tmp_path: Path) -> None:
    build = make(tmp_path / "build", "build")
    code = "import importlib.machinery as m; find = m.PathFinder.find_spec\n" + NO_TORCH.format(site=str(build.parent))
    assert taken(tmp_path, recorded=[build / "lib"], elsewhere=True, code=code) == ("build", "")


# There is no torch but in this directory.
NO_TORCH = """
def only(name, path=None, target=None):
    return None if name == "torch" and path != [{site!r}] else find(name, path, target)
m.PathFinder.find_spec = only
"""


def test_the_user_may_name_site_packages_the_package_or_its_libraries(tmp_path: Path) -> None:
    package = make(tmp_path / "user", "user")
    for number, given in enumerate([tmp_path / "user", package, package / "lib"]):
        (tmp_path / str(number)).mkdir()
        assert taken(tmp_path / str(number), named=given) == ("user", "")


def test_a_directory_that_is_gone_is_told_and_the_next_one_taken(tmp_path: Path) -> None:
    make(tmp_path / "normal", "normal")
    version, log = taken(tmp_path, recorded=[tmp_path / "gone"], normal=tmp_path / "normal")
    assert version == "normal"
    assert f"the package torch is not taken from {tmp_path}/gone (given to build.sh -p): does not exist" in log


def test_a_package_for_another_python_is_told_and_not_tried(tmp_path: Path) -> None:
    other = make(tmp_path / "other", "other", "raise SystemExit('tried')", suffix=".cpython-39-x86_64-linux-gnu.so")
    make(tmp_path / "normal", "normal")
    version, log = taken(tmp_path, recorded=[other / "lib"], normal=tmp_path / "normal")
    assert version == "normal"
    assert f"is not for this Python, which needs {other}/_C{SUFFIX}" in log


def test_a_package_that_cannot_be_imported_leaves_nothing_behind(tmp_path: Path) -> None:
    broken = make(tmp_path / "broken", "broken", "import torch.part\nimport unwanted")
    (broken / "part.py").write_text("")
    normal = make(tmp_path / "normal", "normal", "import sys; assert 'torch.part' not in sys.modules")
    version, log = taken(tmp_path, recorded=[broken / "lib"], normal=normal.parent)
    assert version == "normal"
    assert "(given to build.sh -p): cannot be imported: import of unwanted halted" in log


def test_when_none_can_be_imported_the_error_names_every_place(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    block = "sys.modules['torch'] = None"
    text, _ = taken(tmp_path, named=tmp_path / "empty", recorded=[tmp_path / "gone"], code=block)
    first, *places = text.splitlines()
    assert first.startswith("the package torch cannot be imported (import of torch halted")
    assert first.endswith("); pip install 'servoir[torch]'")
    assert places == [
        f"  {tmp_path}/empty (SERVOIR_TORCH_DIR): has no package torch, and does not belong to one",
        f"  {tmp_path}/gone (given to build.sh -p): does not exist",
    ]


def test_what_it_depends_on_may_lie_beside_it_also_when_it_is_imported_late(tmp_path: Path) -> None:
    package = make(tmp_path / "build", "build", "def late():\n    import only_beside\n    return only_beside.place")
    (tmp_path / "build" / "only_beside.py").write_text("place = 'beside'")
    version, _ = taken(tmp_path, recorded=[package / "lib"], code="print(import_package('torch').late())")
    assert version == "beside\nbuild"


def test_a_package_that_is_imported_already_is_kept(tmp_path: Path) -> None:
    build = make(tmp_path / "build", "build")
    make(tmp_path / "normal", "normal")
    assert taken(tmp_path, recorded=[build / "lib"], normal=tmp_path / "normal", code="import torch")[0] == "normal"
