"""Who holds a GPU's memory. Source: NVML for pids and bytes, NVML and /proc for names."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Final

from memtop.collectors.nvml_devices import Gpu
from memtop.collectors.nvml_errors import NOT_SAID, SENTINELS, Calls
from memtop.model.records import DeviceProcess
from memtop.model.text import harmless

_KINDS: Final = (("processes", "Compute"), (None, "Graphics"), (None, "MPSCompute"))
"""Only the first is missed: many GPUs know no graphics, and few machines run MPS."""

_INITIAL_NAMESPACE: Final = "pid:[4026531836]"
"""The kernel's fixed number of the host's own pid namespace (PROC_PID_INIT_INO)."""

HIDDEN: Final = "hidden from inside this container (start it with --pid=host to see them)"


def in_pid_namespace(proc: Path = Path("/proc")) -> bool:
    """Whether our pids are not the host's, which are those that drivers before 545 tell."""
    try:
        return str((proc / "self/ns/pid").readlink()) != _INITIAL_NAMESPACE
    except OSError:
        return False


class Processes:
    """Lists processes by device. Remembers names, and whether this container lets processes be seen."""

    def __init__(self, calls: Calls, *, namespaced: bool, proc: Path = Path("/proc")) -> None:
        self._calls = calls
        self._namespaced = namespaced
        self._proc = proc
        self._names: dict[int, str | None] = {}
        self._trusted = not namespaced
        self.hidden = False
        """Whether some device's processes could not be seen when it was last asked."""

    def read(self, gpu: Gpu, ours: Collection[int]) -> list[DeviceProcess] | None:
        """The processes on one device by pid, or `None` where they can't be seen.

        Inside a pid namespace a driver tells nothing, or the host's pids (which may collide with ours), or ours
        without their bytes. Pids are believed once all of them exist here.
        """
        sizes = self._sizes(gpu)
        if sizes is None:
            return None
        foreign = self._namespaced and any(not (self._proc / str(pid)).exists() for pid in sizes)
        self._trusted = not foreign and (self._trusted or bool(sizes))
        if not sizes and not self._trusted:
            self._hide(gpu)
            return None
        if foreign:
            self._hide(gpu)
        return [
            DeviceProcess(
                pid=pid,
                name=None if foreign else self._name(gpu, pid),
                bytes=size,
                ours=not foreign and pid in ours,
            )
            for pid, size in sorted(sizes.items())
        ]

    def forget(self, alive: Collection[int]) -> None:
        """Drop the names of processes that no device lists any more: their pids may be given out again."""
        self._names = {pid: name for pid, name in self._names.items() if pid in alive}

    def _hide(self, gpu: Gpu) -> None:
        self.hidden = True
        self._calls.say(gpu.uuid, "processes", HIDDEN)

    def _sizes(self, gpu: Gpu) -> dict[int, int | None] | None:
        """Bytes by pid. NVML tells a process's whole memory under each of its kinds: they are not added up."""
        sizes: dict[int, int | None] = {}
        answered = False
        for what, kind in _KINDS:
            names = tuple(f"nvmlDeviceGet{kind}RunningProcesses_v{version}" for version in (3, 2))
            listed = self._calls.ask(gpu.uuid, what, names, gpu.handle)
            answered |= listed is not None
            for process in listed or ():
                size = self._bytes(gpu, process.usedGpuMemory)
                sizes[process.pid] = max(size or 0, sizes.get(process.pid) or 0) or None
        return sizes if answered else None

    def _bytes(self, gpu: Gpu, size: int | None) -> int | None:
        # A process that is listed holds a context at least: 0 is a driver that does not say, as in containers.
        if size is None or size in SENTINELS or size == 0:
            self._calls.say(gpu.uuid, "memory per process", NOT_SAID)
            return None
        return int(size)

    def _name(self, gpu: Gpu, pid: int) -> str | None:
        if pid not in self._names:
            told = self._calls.ask("names", None, "nvmlSystemGetProcessName", pid)
            self._names[pid] = short_name(told) if isinstance(told, str) else self._comm(pid)
        return self._names[pid]

    def _comm(self, pid: int) -> str | None:
        try:
            return harmless((self._proc / str(pid) / "comm").read_text(encoding="utf-8", errors="replace"), 60) or None
        except OSError:
            return None


def short_name(command: str) -> str | None:
    """A process's name as the driver tells it, harmless, without the folder of its program: `python train.py`."""
    program, space, rest = harmless(command, 200).strip().partition(" ")
    return harmless((PurePosixPath(program).name or program) + space + rest, 60) or None
