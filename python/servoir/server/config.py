"""ServableStartConfig: which servable to serve, on which devices, with how many workers."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from servoir import check
from servoir.encryption import MODES as DECRYPTION_MODES

DEVICE_TYPES = ("Ascend", "GPU", "CPU", "None")
MAX_PARALLEL_WORKERS = 64
LARGEST_DEVICE = 65535


def script_directory() -> tuple[str, str]:
    """The directory that a relative servable_directory belongs to, and what it is: that of the script that was started;
    the current one in an interactive session and in a notebook, whose script is its kernel."""
    if _in_ipython():
        return os.getcwd(), "the current directory"  # of a notebook, its own
    script = sys.argv[0] if sys.argv else ""
    if not script or script == "-c":
        return os.getcwd(), "the current directory"
    return os.path.dirname(os.path.realpath(script)), f"the directory of the start script {os.path.realpath(script)}"


def _in_ipython() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and (hasattr(shell, "kernel") or os.path.basename(sys.argv[0]).startswith("ipython"))


class ServableStartConfig:
    """One servable for start_servables. Only types and ranges are checked here; nothing is looked for on the disk.

    Args:
        servable_directory: the directory with the servable's directory in it. A relative path is relative to the
            directory of the start script.
        servable_name: name of the servable's directory.
        device_ids: an int in 0…65535, or a list or tuple of different ones. Each gets a worker with the models. None:
            no device; each worker has the models and runs them on the CPU.
        version_number: an int >= 0. 0: the newest version on the disk.
        device_type: 'Ascend', 'GPU', 'CPU' or 'None', case ignored. None: what the backend finds.
        num_parallel_workers: how many workers there are in all, an int in 0…64. Those beyond the devices run Python
            stages only. Without `device_ids` there is at least one.
        dec_key: the key of encrypted models, 16, 24 or 32 bytes. None: the models are not encrypted.
        dec_mode: how they are encrypted, 'AES-GCM' or 'AES-CBC'.

    Raises:
        RuntimeError: an argument has the wrong type or is out of range; the text names it.
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
            origin, what = script_directory()
            self._servable_directory = os.path.realpath(os.path.join(origin, servable_directory))
            self._origin = "" if os.path.isabs(servable_directory) else f"'{servable_directory}' in {what}"
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
            self._device_ids = check.integers("device_ids", device_ids, 0, ceiling=LARGEST_DEVICE)
        else:
            self._device_ids = (check.integer("device_ids", device_ids, 0, ceiling=LARGEST_DEVICE),)
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
    def origin(self) -> str:
        """Where a relative servable_directory was looked for, for people; empty for an absolute one."""
        return self._origin

    @property
    def servable_name(self) -> str:
        """Name of the servable's directory."""
        return self._servable_name

    @property
    def version_number(self) -> int:
        """0: the newest version on the disk."""
        return self._version_number

    @property
    def device_type(self) -> str | None:
        """In lower case; None where none was given."""
        return self._device_type

    @property
    def device_ids(self) -> tuple[int, ...]:
        """Empty where none were given."""
        return self._device_ids

    @property
    def num_parallel_workers(self) -> int:
        """At least 1 where there are no devices."""
        return self._num_parallel_workers

    @property
    def dec_key(self) -> bytes | None:
        """The key of encrypted models."""
        return self._dec_key

    @property
    def dec_mode(self) -> str:
        """'AES-GCM' or 'AES-CBC'."""
        return self._dec_mode
