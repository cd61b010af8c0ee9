"""python -m servoir.cli.declared_models SERVABLE_DIRECTORY SERVABLE_NAME: started by `servoir doctor` only.

Imports a servable's configuration as a worker would, and reports on descriptor 3 what models it declares: a record
"model JSON" for each, or "failed TEXT"; see discovery/trial.h. It is a process of its own because the configuration is
somebody's code.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys

_REPORT = 3
_PR_SET_PDEATHSIG = 1


def main() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    os.set_inheritable(_REPORT, False)
    directory, name = sys.argv[1:]

    from servoir.server.register import declarations
    from servoir.worker.servable import import_config

    declared = declarations.begin()
    try:
        import_config(directory, name)
        declared.check_complete(name)
    except BaseException as error:  # a SystemExit of the configuration is a failure as well
        _tell("failed", f"{type(error).__name__}: {error}")
    else:
        for model in declared.models.values():
            is_class = isinstance(model.backend, type)
            described = {
                "name": model.key,
                "files": list(model.files),
                "model_format": model.model_format,
                "backend": "python" if is_class else model.backend,
                "is_class": is_class,
            }
            _tell("model", json.dumps(described))
    os.write(_REPORT, b"end\0")
    os._exit(0)


def _tell(key: str, text: str) -> None:
    content = f"{key} {text}".replace("\0", " ").encode(errors="backslashreplace") + b"\0"
    while content:
        content = content[os.write(_REPORT, content) :]


if __name__ == "__main__":
    main()
