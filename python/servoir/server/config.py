"""ServableStartConfig: which servable to serve, on which devices, with how many workers."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from servoir import check
from servoir.encryption import MODES as DECRYPTION_MODES

DEVICE_TYPES = ("Ascend", "GPU", "CPU", "None")
MAX_PARALLEL_WORKERS = 64


def script_directory() -> str:
    """Directory of the script that was started; the current one in an interactive session."""
    script = sys.argv[0] if sys.argv else ""
    return os.path.dirname(os.path.realpath(script)) if script else os.getcwd()


class ServableStartConfig:
    """One servable of start_servables. Only the types and ranges are checked here; nothing touches the disk.

    Args:
        servable_directory: holds the servable's directory; a relative path is relative to the start script.
        servable_name: name of the servable's directory.
        device_ids: an int or ints; each gets a worker with the models.
        version_number: 0: the newest on disk.
        device_type: 'Ascend', 'GPU', 'CPU', 'None', case ignored; None: what the backend finds.
        num_parallel_workers: workers for Python stages, beyond those of device_ids; without device_ids all workers.
        dec_key, dec_mode: for encrypted models.
    """

    def __init__(
        self,
        servable_directory: str,
        servable_name: str,
        device_ids: int | Sequence[int] | None = None,
        version_number: int = 0,
        device_type: str | None = None,
        num_parallel_workers: int = 0,
        dec_key: bytes | None = None,
        dec_mode: str = "AES-GCM",
    ) -> None:
        check.text("servable_directory", servable_directory)
        try:
            self._servable_directory = os.path.realpath(os.path.join(script_directory(), servable_directory))
        except ValueError as error:  # a NUL, half a surrogate pair
            raise RuntimeError(
                f"Parameter 'servable_directory' should be the path of a directory, but {servable_directory!r} cannot"
                f" be a path: {error}"
            ) from None
        self._servable_name = check.text("servable_name", servable_name)
        self._version_number = check.integer("version_number", version_number, 0)
        check.integer("num_parallel_workers", num_parallel_workers, 0, MAX_PARALLEL_WORKERS)
        if dec_key is not None:
            if not isinstance(dec_key, bytes):
                raise check.refuse("dec_key", "None or bytes", "a secret of another type")
            if len(dec_key) not in (16, 24, 32):
                raise RuntimeError(f"Parameter 'dec_key' should have 16, 24 or 32 bytes, but has {len(dec_key)}")
        self._dec_key = dec_key
        check.text("dec_mode", dec_mode)
        if dec_mode not in DECRYPTION_MODES:
            raise RuntimeError(
                f"Parameter 'dec_mode' should be one of {', '.join(DECRYPTION_MODES)}, but is {dec_mode!r}"
            )
        self._dec_mode = dec_mode
        if device_ids is None:
            self._device_ids: tuple[int, ...] = ()
        elif isinstance(device_ids, (list, tuple)):
            self._device_ids = check.integers("device_ids", device_ids, 0)
        else:
            self._device_ids = (check.integer("device_ids", device_ids, 0),)
        self._device_type: str | None = None
        if device_type is not None:
            self._device_type = check.one_of("device_type", device_type, DEVICE_TYPES).lower()
        if not self._device_ids and num_parallel_workers == 0:
            num_parallel_workers = 1
        self._num_parallel_workers = num_parallel_workers

    @property
    def servable_directory(self) -> str:
        """Absolute, links resolved."""
        return self._servable_directory

    @property
    def servable_name(self) -> str:
        return self._servable_name

    @property
    def version_number(self) -> int:
        return self._version_number

    @property
    def device_type(self) -> str | None:
        """In lower case."""
        return self._device_type

    @property
    def device_ids(self) -> tuple[int, ...]:
        return self._device_ids

    @property
    def num_parallel_workers(self) -> int:
        return self._num_parallel_workers

    @property
    def dec_key(self) -> bytes | None:
        return self._dec_key

    @property
    def dec_mode(self) -> str:
        return self._dec_mode
