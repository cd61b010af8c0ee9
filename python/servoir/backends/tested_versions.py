"""Which versions of each backend's runtime are tested: the catalogue says it.

Other versions are used as well, with a warning; those that cannot work are refused by the backend itself.
"""

from __future__ import annotations

import functools
import re

from servoir import log
from servoir.backends.catalogue import records


def is_tested(backend: str, version: str) -> bool:
    oldest, newest = (_numbers(bound) for bound in records()[backend].tested)
    numbers = _numbers(version)
    return bool(numbers) and oldest <= numbers[: len(oldest)] and numbers[: len(newest)] <= newest


def tested_range(backend: str) -> str:
    """ "2.7 to 2.10"."""
    oldest, newest = records()[backend].tested
    return oldest if oldest == newest else f"{oldest} to {newest}"


@functools.cache
def warn_if_untested(backend: str, version: str) -> None:
    """Once in a process."""
    if backend in records() and not is_tested(backend, version):
        log.warning("%s %s is used, but only %s is tested", backend, version, tested_range(backend))


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"[0-9]+(\.[0-9]+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()
