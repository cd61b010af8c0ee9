"""Loads a library, with all that it needs, in a process of its own, which may crash or hang without harm."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SECONDS = 120  # MindSpore takes some when its files are not in memory yet

# Ends without the library's destructors: whether it unloads well is not asked. The file that is mapped as libstdc++ is
# the one that a server will have, too.
_CHILD = """
import ctypes, os, re, sys
library = ctypes.CDLL(sys.argv[1], mode=os.RTLD_NOW | os.RTLD_LOCAL)
class Version(ctypes.Structure):
    _fields_ = [("number", ctypes.c_char_p), ("description", ctypes.c_char_p)]
try:
    ask = library.ov_get_openvino_version
except AttributeError:
    pass
else:
    version = Version()
    if ask(ctypes.byref(version)) == 0:
        print("version", version.number.decode())
for line in open("/proc/self/maps"):
    if re.search(r"/libstdc\\+\\+\\.so\\.6", line):
        print("libstdc++", line.split(None, 5)[5].strip())
        break
print("loaded", flush=True)
os._exit(0)
"""


@dataclass(frozen=True)
class Trial:
    problem: str = ""  # empty: it was loaded. Else continues "LIBRARY …"
    version: str = ""  # what it says itself, if it is OpenVINO's
    libstdcxx: str = ""  # the file that is libstdc++ in that process


def load(library: Path | str, seconds: float = SECONDS) -> Trial:
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(
            [sys.executable, "-I", "-c", _CHILD, str(library)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # what it may start goes with it
        )
        try:
            status = child.wait(seconds)
        except subprocess.TimeoutExpired:
            return Trial(f"does not load: it was still at it after {seconds:g} s")
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        output.seek(0)
        text = output.read().decode(errors="replace")
    said = dict(re.findall(r"^(version|libstdc\+\+) (.*)$", text, re.MULTILINE))
    if status == 0 and text.endswith("loaded\n"):
        return Trial(version=said.get("version", ""), libstdcxx=said.get("libstdc++", ""))
    if status < 0:
        return Trial(f"ends the process that loads it with {signal.Signals(-status).name}{_last_line(text)}")
    error = re.search(r"^OSError: (.*)", text, re.MULTILINE)
    if error:
        return Trial(f"cannot be loaded: {error[1]}")
    return Trial(f"ends the process that loads it with status {status}{_last_line(text)}")


def _last_line(text: str) -> str:
    lines = text.split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f": {last}" if last else ""
