"""How full a GPU is. Source: NVML."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from memtop.collectors.nvml_devices import Gpu
from memtop.collectors.nvml_errors import NOT_SAID, SENTINELS, Calls

_VERSION_2: Final = 0x02000028
"""`nvmlMemory_v2`: the structure's size and its version."""


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """A device's memory at one instant, bytes. With the second version of the call total = used + free + reserved."""

    total: int | None
    used: int | None
    free: int | None
    reserved: int | None
    """The driver's own; `None` where an older driver counts it in `used`."""


def read_memory(calls: Calls, gpu: Gpu) -> Memory | None:
    """Memory of the device itself, of a MIG instance by its own handle; `None` where the driver does not say."""
    two = calls.ask(gpu.uuid, None, "nvmlDeviceGetMemoryInfo", gpu.handle, _VERSION_2)
    if two is not None:
        return _figures(calls, gpu, two)
    why = calls.why
    if why and not why.lasting:
        # An error that passes must not make `used` jump by the driver's reserve: no second try.
        if not why.whole:
            calls.say(gpu.uuid, "memory", why.reason)
        return None
    one = calls.ask(gpu.uuid, "memory", "nvmlDeviceGetMemoryInfo", gpu.handle)
    if one is None:
        return None
    calls.say(gpu.uuid, "memory reserved by the driver", "not told apart: it is counted in what is used")
    return _figures(calls, gpu, one)


def _figures(calls: Calls, gpu: Gpu, told: Any) -> Memory:
    sizes = {name: getattr(told, name, None) for name in ("total", "used", "free", "reserved")}
    missing = [name for name, size in sizes.items() if size in SENTINELS]
    if missing:
        calls.say(gpu.uuid, f"memory {' and '.join(missing)}", NOT_SAID)
    return Memory(**{name: None if size in SENTINELS else size for name, size in sizes.items()})
