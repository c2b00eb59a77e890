"""The collectors' thread: facts once, then a sample of the host and of each GPU every interval."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

import msgspec
from msgspec.structs import replace

from memtop.model.records import DeviceRecord
from memtop.model.specs import GpuSpec, HostSpec

_HEAD_START = 0.3
"""Seconds, at most, that facts wait for the launch: their imports would slow the screen's own down."""
_NVML_PATIENCE = 2.0
"""Seconds that the first line of a log waits for a slow driver."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What does not change."""

    host: HostSpec | None = None
    gpus: tuple[GpuSpec, ...] = ()
    note: str | None = None
    """Why no GPU is shown."""
    visible: Mapping[str, str] = msgspec.field(default_factory=dict)
    """UUID -> `cuda:N`, a guess until the target's torch has told."""


class Readings:
    """Owns the collectors. Callbacks come on its threads."""

    def __init__(
        self,
        env: Mapping[str, str],
        interval: float,
        on_facts: Callable[[Facts], None],
        on_samples: Callable[[list[DeviceRecord]], None],
    ) -> None:
        self._env = env
        self._interval = interval
        self._on_facts = on_facts
        self._on_samples = on_samples
        self._clock: Callable[[], float] = lambda: 0.0
        self._pid: int | None = None
        self._visible: dict[str, str] = {}
        self._parts: dict[int, str] = {}
        self._nvml: object | None = None
        self._known = threading.Event()
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="memtop-readings", daemon=True)

    def begin(self) -> None:
        """Start reading facts."""
        self._thread.start()

    def follow(self, pid: int, clock: Callable[[], float]) -> None:
        """Sample the tree of `pid` from now on; `clock` gives run seconds."""
        self._pid, self._clock = pid, clock
        self._wake.set()

    def see(self, visible: Mapping[str, str], parts: Mapping[int, str]) -> None:
        """The target's torch has told which GPU is which. `parts`: processes to tell apart, pid -> name."""
        if visible:
            self._visible = dict(visible)
        self._parts = dict(parts)
        self._wake.set()

    def close(self) -> None:
        """End the threads; one that hangs in a driver is left to end with us."""
        self._closing = True
        self._wake.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(0.5)

    def _run(self) -> None:
        from memtop.collectors.host import Host, host_spec

        host = Host()
        self._on_samples([host.sample(0.0, None)])
        self._wake.wait(_HEAD_START)
        threading.Thread(target=self._open_nvml, name="memtop-nvml", daemon=True).start()
        facts = Facts(host=host_spec())
        self._known.wait(_NVML_PATIENCE)
        self._on_facts(self._gpu_facts(facts.host))
        slow = not self._known.is_set()
        while not self._closing:
            if slow and self._known.is_set():
                slow = False
                self._on_facts(self._gpu_facts(facts.host))
            self._wake.clear()
            if self._pid is not None:
                self._on_samples(self._sample(host))
            self._wake.wait(self._interval if self._pid is not None else None)

    def _sample(self, host: object) -> list[DeviceRecord]:
        from memtop.collectors.host import Host
        from memtop.collectors.nvml import Nvml

        assert isinstance(host, Host)
        t, pid = self._clock(), self._pid
        records = [host.sample(t, pid, self._parts)]
        if isinstance(self._nvml, Nvml) and pid is not None:
            records += self._nvml.sample(t, host.tree_pids(pid), self._visible)
        return records

    def _open_nvml(self) -> None:
        from memtop.collectors.nvml import Nvml

        opened = Nvml.open()
        if isinstance(opened, Nvml) and not self._visible:
            self._visible = opened.guess_visible(self._env)
        self._nvml = opened
        self._known.set()

    def _gpu_facts(self, host: HostSpec | None) -> Facts:
        from memtop.collectors.nvml import Nvml, Unavailable

        if isinstance(self._nvml, Nvml):
            gpus = self._nvml.specs(self._visible)
            return Facts(host=host, gpus=gpus, note=self._nvml.note, visible=self._visible)
        if isinstance(self._nvml, Unavailable):
            return Facts(host=host, note=self._nvml.reason)
        return Facts(host=host, note="the NVIDIA driver has not answered yet")


def renamed(facts: Facts, visible: Mapping[str, str]) -> Facts:
    """The GPUs by the names that the target's torch gives them."""
    names = {uuid.removeprefix("GPU-").removeprefix("MIG-"): name for uuid, name in visible.items()}
    bare = {gpu.uuid: gpu.uuid.removeprefix("GPU-").removeprefix("MIG-") for gpu in facts.gpus}
    with suppress(KeyError):
        return replace(facts, gpus=tuple(replace(gpu, visible_as=names.get(bare[gpu.uuid])) for gpu in facts.gpus))
    return facts
