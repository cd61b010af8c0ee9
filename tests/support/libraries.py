"""Libraries that do not work, each in its own way, compiled on the spot."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

_AT_LOAD = "__attribute__((constructor)) static void at_load(void) { %s }\n"
# What each does when it is loaded, or lacks.
FAULTS = {
    "aborts": _AT_LOAD % 'fputs("no table of operators\\n", stderr); abort();',
    "crashes": _AT_LOAD % "raise(SIGSEGV);",
    "exits": _AT_LOAD % "exit(3);",
    "hangs": _AT_LOAD % "for (;;) pause();",
    "lacks a function": "int nobody_has_this(void);\nint needs_it(void) { return nobody_has_this(); }\n",
    "": "",
}
_HEADERS = "#include <signal.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n"
_OPENVINO = """
typedef struct { const char* number; const char* description; } version;
int ov_get_openvino_version(version* made) { made->number = "%s"; made->description = ""; return 0; }
void ov_version_free(version* given) { (void)given; }
"""
# What the loader says, or the process that tried it.
MESSAGES = {
    "aborts": "aborts when it is loaded (Aborted); it said: no table of operators",
    "crashes": "crashes when it is loaded (Segmentation fault)",
    "exits": "ends the process when it is loaded (exit status 3)",
    "hangs": "hangs when it is loaded: it was not done after",
    "lacks a function": "undefined symbol: nobody_has_this",
}


def compile_library(path: Path, source: str, *options: str) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "these tests need a C compiler"
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", str(path), "-x", "none", *options]
    subprocess.run(command, input=_HEADERS + source, text=True, check=True)
    return path


def fake_openvino(directory: Path, fault: str = "", version: str = "2023.1.0-12185-fake", *options: str) -> Path:
    """A library that says that it is OpenVINO, of a version too old to be used."""
    source = FAULTS[fault] + (_OPENVINO % version if version else "")
    return compile_library(directory / "libopenvino_c.so.2310", source, "-Wl,-soname,libopenvino_c.so.2310", *options)


def change_machine(library: Path) -> None:
    """Its header says that it is for another one."""
    content = bytearray(library.read_bytes())
    content[18:20] = (62 if os.uname().machine == "aarch64" else 183).to_bytes(2, sys.byteorder)
    library.write_bytes(content)
