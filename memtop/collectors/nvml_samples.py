"""What a GPU does now. Source: NVML, one record a device and interval."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from memtop.collectors.nvml_devices import Gpu
from memtop.collectors.nvml_errors import Calls
from memtop.collectors.nvml_memory import read_memory
from memtop.collectors.nvml_processes import Processes
from memtop.model.records import DeviceRecord

THROTTLE: Final = {
    0x2: "clock setting",
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "thermal (software)",
    0x40: "thermal (hardware)",
    0x80: "power brake",
    0x100: "display clocks",
    0x200: "board limit",
    0x400: "reliability",
}
"""`nvmlClocksEventReason*` by bit. Bit 0, an idle GPU, holds nothing down."""

_IDLE: Final = 0x1
_REASONS: Final = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")
_POWER_LIMIT: Final = ("nvmlDeviceGetEnforcedPowerLimit", "nvmlDeviceGetPowerManagementLimit")
_TEMPERATURE: Final = ("nvmlDeviceGetTemperature", "nvmlDeviceGetTemperatureV")
_SM, _MEMORY = 1, 2


def throttle_words(bits: int) -> list[str]:
    """The reasons in `bits` as short words, lowest bit first; a reason newer than this table by its number."""
    words = [word for bit, word in THROTTLE.items() if bits & bit]
    rest = bits & ~sum(THROTTLE) & ~_IDLE
    return [*words, f"reason {rest:#x}"] if rest else words


def read_sample(
    calls: Calls, processes: Processes, gpu: Gpu, t: float, device: str, ours: Collection[int]
) -> DeviceRecord:
    """One record; what can't be known is `None`, and why stands in its notes."""
    calls.begin(gpu.uuid)
    memory = read_memory(calls, gpu)
    use = None if gpu.chip else calls.ask(gpu.uuid, "utilization", "nvmlDeviceGetUtilizationRates", gpu.handle)
    figures = _body(calls, gpu)
    listed = processes.read(gpu, ours) if not calls.gone(gpu.uuid) else None
    return DeviceRecord(
        t=t,
        device=device,
        uuid=gpu.uuid,
        utilization=_percent(use.gpu) if use else None,
        memory_utilization=_percent(use.memory) if use else None,
        memory_total=memory.total if memory else None,
        memory_used=memory.used if memory else None,
        memory_free=memory.free if memory else None,
        memory_reserved=memory.reserved if memory else None,
        processes=listed,
        **figures,
        notes=calls.notes(gpu.uuid),
    )


def _body(calls: Calls, gpu: Gpu) -> dict[str, Any]:
    """What only a physical GPU has. A MIG instance shares it with its neighbours, and its record says so."""
    if gpu.chip:
        calls.say(gpu.uuid, "temperature, power, clocks", "those of the whole GPU")
        calls.say(gpu.uuid, "utilization", "not told for a MIG instance")
    body = gpu.body

    def ask(what: str, names: str | tuple[str, ...], *arguments: Any) -> Any:
        return calls.ask(body.uuid, what, names, body.handle, *arguments)

    bits = ask("throttle reasons", _REASONS)
    return {
        "temperature": _number(ask("temperature", _TEMPERATURE, 0)),
        "power": _watts(ask("power", "nvmlDeviceGetPowerUsage")),
        "power_limit": _watts(ask("power limit", _POWER_LIMIT)),
        "clock_sm_mhz": _number(ask("SM clock", "nvmlDeviceGetClockInfo", _SM)),
        "clock_memory_mhz": _number(ask("memory clock", "nvmlDeviceGetClockInfo", _MEMORY)),
        "fan": _number(ask("fan", "nvmlDeviceGetFanSpeed")),
        "throttle": throttle_words(bits) if bits is not None else None,
    }


def _number(value: int | None) -> float | None:
    return None if value is None else float(value)


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts / 1000


def _percent(value: int) -> float | None:
    return float(value) if value <= 100 else None
