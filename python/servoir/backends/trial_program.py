"""python -I -S trial_program.py DESCRIPTOR LIBRARY [VERSION_FUNCTION]: loads the library, which may hang.

The report on the descriptor is of the form that cpp/src/discovery/trial_report.h describes: "refused TEXT" with what
the loader says, or "version TEXT" where there is such a function. The program is run by scripts/library_trial.py before
anything is installed, and by package_trial.py. So it imports Python's own library only, and runs without site-packages,
because reading those takes longer than most trials.

Report writes the reports of all trial programs that are in Python.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


class Report:
    """What this process, which is a trial, writes to the descriptor. The process ends with its parent from here on."""

    def __init__(self, descriptor: int) -> None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        os.set_inheritable(descriptor, False)
        self._descriptor = descriptor

    def tell(self, key: str, text: str) -> None:
        self._write(f"{key} {text}")

    def end(self) -> None:
        """Ends the report, and the process without destructors: whether a library unloads well is not asked."""
        self._write("end")
        os._exit(0)

    def _write(self, record: str) -> None:
        content = record.replace("\0", " ").encode(errors="backslashreplace") + b"\0"
        while content:
            content = content[os.write(self._descriptor, content) :]


class Version(ctypes.Structure):
    _fields_ = [("number", ctypes.c_char_p), ("description", ctypes.c_char_p)]


def main() -> None:
    report = Report(int(sys.argv[1]))
    try:
        library = ctypes.PyDLL(sys.argv[2], mode=os.RTLD_NOW | os.RTLD_LOCAL)
    except OSError as error:
        report.tell("refused", str(error))
    else:
        function = sys.argv[3] if len(sys.argv) > 3 else ""
        version = Version()
        if function and hasattr(library, function) and getattr(library, function)(ctypes.byref(version)) == 0:
            report.tell("version", (version.number or b"").decode(errors="replace"))
    report.end()


if __name__ == "__main__":
    main()
