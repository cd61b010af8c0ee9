"""The end of a child that a stage has forked and that leaves the stage.

Such a child would go on as a second worker, which takes and answers the batches of the first. Called by the core.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from typing import NoReturn

from servoir import log


def end(name: str, error: BaseException | None) -> NoReturn:
    """Ends the process: with the status of a SystemExit, with 1 after another exception, else with 0. Exit functions
    are not called, since those of the worker would undo what the worker still needs."""
    status = 0
    with contextlib.suppress(Exception):
        if isinstance(error, SystemExit):
            status = _status(error)
        elif error is None:
            log.info("a child process that '%s' has forked comes back from it, and ends here", name)
        else:
            status = 1
            traceback.print_exception(error)
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status & 0xFF)


def _status(error: SystemExit) -> int:
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    print(error.code, file=sys.stderr)
    return 1
