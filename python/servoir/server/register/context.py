"""How a model is to be run: threads, and settings for each kind of device."""

from __future__ import annotations

from typing import Any

from servoir import check

_PRECISION = ("origin", "fp16")


class _DeviceInfo:
    """Settings for one kind of device. Keyword arguments only; the words in `_choices` are the settings there are."""

    device_type = ""
    _choices: dict[str, tuple[str, ...] | None] = {}  # None: any str

    def __init__(self, **kwargs: str) -> None:
        for name, value in kwargs.items():
            if name not in self._choices:
                known = ", ".join(self._choices)
                raise RuntimeError(f"{type(self).__name__} has no parameter '{name}'; it has {known}")
            words = self._choices[name]
            check.text(name, value)
            if words is not None and value not in words:
                raise RuntimeError(f"Parameter '{name}' should be one of {', '.join(words)}, but is {value!r}")
        self.settings: dict[str, str] = dict(kwargs)


class CPUDeviceInfo(_DeviceInfo):
    """Settings used when the model runs on the CPU: precision_mode, 'origin' (default) or 'fp16'."""

    device_type = "cpu"
    _choices = {"precision_mode": _PRECISION}


class GPUDeviceInfo(_DeviceInfo):
    """Settings used when the model runs on a GPU: precision_mode, 'origin' (default) or 'fp16'."""

    device_type = "gpu"
    _choices = {"precision_mode": _PRECISION}


class AscendDeviceInfo(_DeviceInfo):
    """Settings used when the model runs on an Ascend device."""

    device_type = "ascend"
    _choices = {
        "insert_op_cfg_path": None,
        "input_format": ("ND", "NCHW", "NHWC", "CHWN", "NC1HWC0", "NHWC1C0"),
        "input_shape": None,
        "output_type": ("FP32", "FP16", "UINT8"),
        "precision_mode": (
            "force_fp16",
            "allow_fp32_to_fp16",
            "must_keep_origin_dtype",
            "allow_mix_precision",
        ),
        "op_select_impl_mode": ("high_performance", "high_precision"),
        "fusion_switch_config_path": None,
        "buffer_optimize_mode": ("l1_optimize", "l2_optimize", "off_optimize", "l1_and_l2_optimize"),
    }


class Context:
    """Threads of a model, and device infos: of these the one of the device in use is taken, the others are ignored.

    thread_num: int >= 1, threads of the backend. thread_affinity_core_list: list or tuple of different cores >= 0.
    enable_parallel: bool.
    """

    def __init__(self, **kwargs: Any) -> None:
        self.thread_num: int | None = None
        self.thread_affinity_core_list: tuple[int, ...] = ()
        self.enable_parallel: bool | None = None
        self._infos: dict[type[_DeviceInfo], _DeviceInfo] = {}
        for name, value in kwargs.items():
            if name == "thread_num":
                self.thread_num = check.integer(name, value, 1)
            elif name == "thread_affinity_core_list":
                self.thread_affinity_core_list = check.integers(name, value, 0)
            elif name == "enable_parallel":
                self.enable_parallel = check.flag(name, value)
            else:
                raise RuntimeError(
                    f"Context has no parameter '{name}'; it has thread_num, thread_affinity_core_list, enable_parallel"
                )

    def append_device_info(self, device_info: _DeviceInfo) -> None:
        """Adds a CPUDeviceInfo, GPUDeviceInfo or AscendDeviceInfo; each class once."""
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
