"""How a model is to be run: threads, and settings for each kind of device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict, get_args, get_type_hints

from servoir import check, settings

if TYPE_CHECKING:
    from typing_extensions import Unpack  # typing has it from Python 3.11

LARGEST_CORE = 65535


class ContextOptions(TypedDict, total=False):
    """The keyword arguments of Context."""

    thread_num: int
    thread_affinity_core_list: Sequence[int]
    enable_parallel: bool


class PrecisionOptions(TypedDict, total=False):
    """The keyword arguments of CPUDeviceInfo and GPUDeviceInfo."""

    precision_mode: Literal["origin", "fp16"]


class AscendOptions(TypedDict, total=False):
    """The keyword arguments of AscendDeviceInfo."""

    insert_op_cfg_path: str
    input_format: Literal["ND", "NCHW", "NHWC", "CHWN", "NC1HWC0", "NHWC1C0"]
    input_shape: str
    output_type: Literal["FP32", "FP16", "UINT8"]
    precision_mode: Literal["force_fp16", "allow_fp32_to_fp16", "must_keep_origin_dtype", "allow_mix_precision"]
    op_select_impl_mode: Literal["high_performance", "high_precision"]
    fusion_switch_config_path: str
    buffer_optimize_mode: Literal["l1_optimize", "l2_optimize", "off_optimize", "l1_and_l2_optimize"]


class _DeviceInfo:
    """Settings for one kind of device."""

    device_type = ""
    _options: type[Any]  # the TypedDict with the settings that there are, and with the words each may have
    settings: dict[str, str]

    def _set(self, given: Mapping[str, object]) -> None:
        options = get_type_hints(self._options)
        self.settings = {}
        for name, value in given.items():
            if name not in options:
                raise RuntimeError(f"{type(self).__name__} has no parameter '{name}'; it has {', '.join(options)}")
            words = get_args(options[name])  # none for those that may be any str
            self.settings[name] = check.text(name, value)
            if words and value not in words:
                raise RuntimeError(f"Parameter '{name}' should be one of {', '.join(words)}, but is {value!r}")


class CPUDeviceInfo(_DeviceInfo):
    """Settings for a model that runs on the CPU.

    Args:
        precision_mode: 'origin', as the file says, is the default; 'fp16' where the backend can.

    Raises:
        RuntimeError: an unknown keyword, or a word that is not one of these.
    """

    device_type = "cpu"
    _options = PrecisionOptions

    def __init__(self, **kwargs: Unpack[PrecisionOptions]) -> None:
        self._set(kwargs)


class GPUDeviceInfo(_DeviceInfo):
    """Settings for a model that runs on a GPU.

    Args:
        precision_mode: 'origin', as the file says, is the default; 'fp16' where the backend can.

    Raises:
        RuntimeError: an unknown keyword, or a word that is not one of these.
    """

    device_type = "gpu"
    _options = PrecisionOptions

    def __init__(self, **kwargs: Unpack[PrecisionOptions]) -> None:
        self._set(kwargs)


class AscendDeviceInfo(_DeviceInfo):
    """Settings for a model that runs on an Ascend device, in the words of MindSpore; AscendOptions lists them.

    Raises:
        RuntimeError: an unknown keyword, or a word that a setting cannot have.
    """

    device_type = "ascend"
    _options = AscendOptions

    def __init__(self, **kwargs: Unpack[AscendOptions]) -> None:
        self._set(kwargs)


class DeprecatedOptions(_DeviceInfo):
    """What `options` of declare_model takes; servable/deprecated.py has the classes."""


class Context:
    """How a model is run: its threads, and settings for each kind of device.

    Args:
        thread_num: threads that one batch may use, an int in 1…1024. Default: the worker's part of the cores.
        thread_affinity_core_list: different cores, ints >= 0. Has no effect: threads are not pinned.
        enable_parallel: a bool. Has no effect: each batch is run by all threads of its model.

    Raises:
        RuntimeError: an unknown keyword, or a value of the wrong type or out of range.
    """

    def __init__(self, **kwargs: Unpack[ContextOptions]) -> None:
        self.thread_num: int | None = None
        self.thread_affinity_core_list: tuple[int, ...] = ()
        self.enable_parallel: bool | None = None
        self._infos: dict[type[_DeviceInfo], _DeviceInfo] = {}
        for name, value in kwargs.items():
            if name == "thread_num":
                self.thread_num = check.integer(name, value, 1, ceiling=settings.MOST_THREADS)
            elif name == "thread_affinity_core_list":
                self.thread_affinity_core_list = check.integers(name, value, 0, ceiling=LARGEST_CORE)
            elif name == "enable_parallel":
                self.enable_parallel = check.flag(name, value)
            else:
                known = ", ".join(ContextOptions.__annotations__)
                raise RuntimeError(f"Context has no parameter '{name}'; it has {known}")

    def append_device_info(self, device_info: _DeviceInfo) -> None:
        """Adds settings for a kind of device. Those of the device that a model runs on are used, others are ignored.

        Args:
            device_info: a CPUDeviceInfo, GPUDeviceInfo or AscendDeviceInfo.

        Raises:
            RuntimeError: `device_info` is of another type, or one of its class was appended before.
        """
        if not isinstance(device_info, (CPUDeviceInfo, GPUDeviceInfo, AscendDeviceInfo)):
            raise check.refuse("device_info", "a CPUDeviceInfo, GPUDeviceInfo or AscendDeviceInfo", device_info)
        if type(device_info) in self._infos:
            raise RuntimeError(f"Parameter 'device_info': a {type(device_info).__name__} was appended before")
        self._infos[type(device_info)] = device_info

    def settings_for(self, device_type: str) -> dict[str, str]:
        """The settings of the info for this kind of device ('cpu', 'gpu', 'ascend'); empty without one."""
        for info in self._infos.values():
            if info.device_type == device_type:
                return dict(info.settings)
        return {}
