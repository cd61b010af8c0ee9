"""The number of threads of a runtime that has one number of them for the whole process."""

from __future__ import annotations

from servoir import log


class ProcessThreads:
    """The model that is opened first says how many threads there are."""

    def __init__(self, runtime: str) -> None:
        self._runtime = runtime
        self._threads: int | None = None

    def decide(self, threads: int) -> bool:
        """Whether these are to be set; a warning if another model has set another number."""
        if self._threads is None:
            self._threads = threads
            return True
        if self._threads != threads:
            log.warning(
                "%s goes on with %d threads, it cannot have %d for another model", self._runtime, self._threads, threads
            )
        return False
