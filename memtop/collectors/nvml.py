"""NVIDIA's GPUs through NVML: the only place that imports pynvml, and only when a collector opens."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from typing import Any

from memtop.collectors import nvml_processes
from memtop.collectors.nvml_devices import Gpu, find
from memtop.collectors.nvml_errors import Calls, Unavailable, fault_of
from memtop.collectors.nvml_processes import HIDDEN, Processes
from memtop.collectors.nvml_samples import read_sample
from memtop.collectors.nvml_specs import read_spec
from memtop.collectors.nvml_visible import visible_devices
from memtop.model.records import DeviceRecord
from memtop.model.specs import GpuSpec

__all__ = ["Nvml", "Unavailable", "visible_devices"]

_CLOSING_SECONDS = 1.0


class Nvml:
    """The GPUs of this machine, found when it opens. Thread-safe; a call may take as long as the driver does."""

    def __init__(self, calls: Calls, gpus: tuple[Gpu, ...], problems: list[str]) -> None:
        self._calls = calls
        self._gpus = gpus
        self._problems = problems
        self._processes = Processes(calls, namespaced=nvml_processes.in_pid_namespace())
        self._lock = threading.Lock()
        self._closed = False
        self.note: str | None = "; ".join(problems) or None
        """What is limited now, in a calm line: GPUs that can't be asked, processes that can't be seen."""

    @classmethod
    def open(cls) -> Nvml | Unavailable:
        """Load the driver's library and find the GPUs, or say why there are none. Never raises."""
        try:
            import pynvml  # type: ignore[import-untyped, unused-ignore]
        except Exception:
            return Unavailable(reason="pynvml can't be imported", remedy="pip install nvidia-ml-py")
        try:
            pynvml.nvmlInit()
        except Exception as error:
            fault = fault_of(pynvml, error)
            return Unavailable(reason=fault.reason, remedy=fault.remedy)
        calls = Calls(pynvml)
        gpus, problems = find(calls)
        if gpus:
            return cls(calls, gpus, problems)
        _shut_down(pynvml)
        return _nothing_found(calls, problems)

    def specs(self, visible: Mapping[str, str] | None = None) -> tuple[GpuSpec, ...]:
        """What each GPU is, a GPU in MIG mode followed by its instances. `visible`: UUID -> `cuda:N`. Never raises."""
        with self._lock:
            if self._closed:
                return ()
            names = _bare(visible or {})
            return tuple(read_spec(self._calls, gpu, names.get(_tail(gpu.uuid))) for gpu in self._gpus)

    def sample(
        self, t: float, ours: Collection[int] = (), visible: Mapping[str, str] | None = None
    ) -> tuple[DeviceRecord, ...]:
        """What each GPU and MIG instance does now; `t` in run seconds, `ours` the target's pids. Never raises."""
        with self._lock:
            if self._closed:
                return ()
            names = _bare(visible or {})
            self._processes.hidden = False
            records = tuple(
                read_sample(self._calls, self._processes, gpu, t, names.get(_tail(gpu.uuid)) or f"gpu:{gpu.uuid}", ours)
                for gpu in self._gpus
            )
            self._processes.forget({process.pid for record in records for process in record.processes or ()})
            self.note = self._limits()
            return records

    def _limits(self) -> str | None:
        gone = [(gpu, self._calls.gone(gpu.uuid)) for gpu in self._gpus if not gpu.chip]
        lines = [*self._problems, *(f"GPU {gpu.index}: {fault.reason}" for gpu, fault in gone if fault)]
        return "; ".join([*lines, *([f"GPU processes: {HIDDEN}"] if self._processes.hidden else [])]) or None

    def guess_visible(self, env: Mapping[str, str]) -> dict[str, str]:
        """UUID -> `cuda:N` as a process with `env` would see it, before its torch has said so."""
        names = [spec.name for spec in self.specs()]
        return visible_devices([gpu.uuid for gpu in self._gpus], env, names)

    def close(self) -> None:
        """Let the driver go. Idempotent; gives up after a second where a call hangs in the driver."""
        if not self._lock.acquire(timeout=_CLOSING_SECONDS):
            return
        try:
            if not self._closed:
                self._closed = True
                _shut_down(self._calls.library)
        finally:
            self._lock.release()


def _tail(uuid: str) -> str:
    """A UUID without `GPU-` or `MIG-`: torch tells it so."""
    return uuid[4:] if uuid.startswith(("GPU-", "MIG-")) else uuid


def _bare(visible: Mapping[str, str]) -> dict[str, str]:
    return {_tail(uuid): name for uuid, name in visible.items()}


def _shut_down(library: Any) -> None:
    Calls(library).ask("", None, "nvmlShutdown")


def _nothing_found(calls: Calls, problems: list[str]) -> Unavailable:
    """Why the driver is there and no GPU is."""
    fault = calls.gone("")
    if fault:
        return Unavailable(reason=fault.reason, remedy=fault.remedy)
    said = "; ".join(problems or calls.notes(""))
    if said:
        return Unavailable(reason=said, remedy=None)
    return Unavailable(
        reason="the NVIDIA driver is loaded and knows no GPU",
        remedy="in a container: start it with --gpus all; else see nvidia-smi -L and the kernel's log",
    )
