"""How busy, fast and warm the CPU is. Sources: `/proc/stat`, cpufreq, hwmon and thermal zones."""

from __future__ import annotations

from typing import Final

from memtop.collectors.files import Files

_PACKAGE_SENSORS: Final = frozenset({"coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "x86_pkg_temp"})
"""hwmon drivers and thermal zone types that measure the CPU itself."""

_PACKAGE_LABELS: Final = ("Package id", "Physical id", "Tdie", "Tctl")
"""Labels of a package's sensor, the best first (Tctl may carry an offset for fans); others are single cores."""


class Load:
    """Busy shares between two readings of `/proc/stat`. Idle and waiting for a disk are not busy."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._before: dict[int, tuple[int, int]] = {}
        self._shares: dict[int, float] = {}

    def read(self) -> dict[int, float] | None:
        """Per cent busy by logical CPU since the last reading; `None` on the first, before a tick has passed, or
        where there is no such file.
        """
        now = self._ticks()
        if not now:
            return None
        before, self._before = self._before, now
        for cpu, (busy, total) in now.items():
            then = before.get(cpu)
            if then is None or total <= then[1]:  # no tick passed: what was true last stays
                continue
            share = 100 * (busy - then[0]) / (total - then[1])
            self._shares[cpu] = min(100.0, max(0.0, share))
        self._shares = {cpu: share for cpu, share in self._shares.items() if cpu in now}
        return dict(self._shares) or None

    def _ticks(self) -> dict[int, tuple[int, int]]:
        """(busy, total) ticks by CPU since boot."""
        ticks: dict[int, tuple[int, int]] = {}
        for line in (self._files.text("proc/stat", 1 << 22) or "").splitlines():
            if not line.startswith("cpu"):
                break  # CPUs stand first; the interrupts that follow make up most of the file
            name, *fields = line.split()
            if name == "cpu" or len(fields) < 5:
                continue
            # user nice system idle iowait irq softirq steal; guest time is counted in user already.
            values = [int(field) for field in fields[:8]]
            total = sum(values)
            ticks[int(name[3:])] = (total - values[3] - values[4], total)
        return ticks


class Frequency:
    """The current clock in MHz: the mean over at most eight usable CPUs, as each reading may interrupt its CPU."""

    def __init__(self, files: Files, cpus: frozenset[int]) -> None:
        self._files = files
        every = max(1, -(-len(cpus) // 8))
        paths = [f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq" for cpu in sorted(cpus)[::every]]
        self._paths = [path for path in paths if files.exists(path)]
        self._fixed = None if self._paths else self._from_cpuinfo()

    def read(self) -> float | None:
        """MHz; where the kernel scales nothing (most virtual machines) what `/proc/cpuinfo` said at the start."""
        clocks = [clock for path in self._paths if (clock := self._files.number(path)) is not None]
        return sum(clocks) / len(clocks) / 1000 if clocks else self._fixed

    def _from_cpuinfo(self) -> float | None:
        for line in (self._files.text("proc/cpuinfo", 1 << 12) or "").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "cpu MHz":
                return _float(value)
        return None


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


class Temperature:
    """The CPU packages' temperature in °C, the highest of several. Sensors are looked for once."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._paths = self._hwmon() or self._zones()

    def read(self) -> float | None:
        """°C, or `None` where no sensor is known to be the CPU's."""
        values = [value for path in self._paths if (value := self._files.number(path)) is not None]
        return max(values) / 1000 if values else None

    def _hwmon(self) -> list[str]:
        paths: list[str] = []
        for number in self._files.numbered("sys/class/hwmon", "hwmon"):
            chip = f"sys/class/hwmon/hwmon{number}"
            if self._files.word(f"{chip}/name") in _PACKAGE_SENSORS:
                paths += self._package_inputs(chip)
        return paths

    def _package_inputs(self, chip: str) -> list[str]:
        inputs = sorted(name for name in self._files.names(chip) if name.startswith("temp") and name.endswith("_input"))
        labels = {name: self._files.word(f"{chip}/{name[:-5]}label") or "" for name in inputs}
        for label in _PACKAGE_LABELS:
            found = [name for name in inputs if labels[name].startswith(label)]
            if found:
                return [f"{chip}/{name}" for name in found]
        return [f"{chip}/{name}" for name in inputs[:1]]

    def _zones(self) -> list[str]:
        zones = (
            f"sys/class/thermal/thermal_zone{n}" for n in self._files.numbered("sys/class/thermal", "thermal_zone")
        )
        return [f"{zone}/temp" for zone in zones if self._files.word(f"{zone}/type") in _PACKAGE_SENSORS]


def mean_of(shares: dict[int, float], cpus: frozenset[int]) -> float | None:
    """The mean share of `cpus`, or of all where none of them is known."""
    values = [share for cpu, share in shares.items() if cpu in cpus] or list(shares.values())
    return sum(values) / len(values) if values else None
