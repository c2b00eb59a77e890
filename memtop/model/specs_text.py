"""What `memtop specs` prints: the facts of this machine, as text and as JSON. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from memtop.model import units
from memtop.model.specs import GpuSpec, HostSpec
from memtop.model.text import harmless

VERSION: Final = 1
"""Version of the JSON."""

_KEY: Final = 16
"""Columns of a fact's name, the two before it included."""

Row = tuple[str, str]


def to_json(host: HostSpec, gpus: Sequence[GpuSpec], note: str | None) -> dict[str, Any]:
    """The facts as JSON values: bytes, MHz and W as in `model.specs`; unknown is `None`."""
    facts: dict[str, Any] = msgspec.to_builtins({"v": VERSION, "host": host, "gpus": gpus, "note": note})
    return facts


def lines(host: HostSpec, gpus: Sequence[GpuSpec], note: str | None, width: int = 100) -> list[str]:
    """The facts as aligned lines, none wider than `width`; `note` says why no GPU is shown."""
    text = ["CPU", *_rows(_cpu(host), width), "", "Memory", *_rows(_memory(host), width)]
    for gpu in gpus:
        text += ["", *_wrap(_title(gpu), width, ""), *_rows(_gpu(gpu), width)]
    if note or not gpus:
        text += ["", "GPU", *_wrap(harmless(note or "none found"), width, "  ")]
    return text


def _rows(rows: Iterable[Row], width: int) -> list[str]:
    """Names to the left, values wrapped to the right of them."""
    text: list[str] = []
    for name, value in rows:
        first, *more = _wrap(harmless(value) or units.UNKNOWN, max(width - _KEY, 8), "")
        text += [f"  {name:<{_KEY - 2}}{first}"[:width].rstrip()]
        text += [(" " * _KEY + line)[:width] for line in more]
    return text


def _wrap(text: str, width: int, indent: str) -> list[str]:
    wrapped = textwrap.wrap(
        text, max(width, 8), initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
    return wrapped or [indent]


def _cpu(host: HostSpec) -> list[Row]:
    return [
        ("model", _or(host.cpu_model)),
        ("vendor", _or(host.cpu_vendor)),
        ("generation", _or(host.microarchitecture)),
        ("topology", _topology(host)),
        ("clock", _mhz(host.frequency_max_mhz, " at most")),
        ("caches", " · ".join(f"{name} {units.size(size)}" for name, size in host.caches.items())),
        ("instructions", " ".join(host.features)),
        ("system", f"{host.system} on {host.hostname}"),
    ]


def _topology(host: HostSpec) -> str:
    counts = ((host.sockets, "socket"), (host.cores, "core"), (host.threads, "thread"))
    text = " · ".join(f"{units.number(count)} {word}{'' if count == 1 else 's'}" for count, word in counts)
    usable = host.usable_threads
    return text if usable is None or usable == host.threads else f"{text}, {units.number(usable)} usable here"


def _memory(host: HostSpec) -> list[Row]:
    limit = "none" if host.cgroup_limit is None else f"{units.size(host.cgroup_limit)} (control group)"
    nodes = [f"node {n.node}: {units.size(n.memory)}, CPUs {n.cpus or 'none'}" for n in host.numa]
    rows = [("RAM", units.size(host.ram)), ("limit", limit), ("swap", _swap(host.swap))]
    return rows + [("NUMA" if index == 0 else "", node) for index, node in enumerate(nodes)]


def _swap(swap: int | None) -> str:
    return "none" if swap == 0 else units.size(swap)


def _title(gpu: GpuSpec) -> str:
    kind = "MIG instance" if gpu.parent_uuid else "GPU"
    return f"{kind} {gpu.index}  {harmless(_or(gpu.name))}"


def _gpu(gpu: GpuSpec) -> list[Row]:
    rows = [
        ("torch's name", gpu.visible_as or "hidden by CUDA_VISIBLE_DEVICES, or known only to torch"),
        ("architecture", f"{_or(gpu.architecture)} · compute capability {_or(gpu.compute_capability)}"),
        ("processors", f"{units.number(gpu.sms)} SMs · {units.number(gpu.cuda_cores)} CUDA cores"),
        ("memory", _gpu_memory(gpu)),
        ("clocks", f"SM {_mhz(gpu.clock_sm_max_mhz)} · memory {_mhz(gpu.clock_memory_max_mhz)} at most"),
        ("power limit", _with(gpu.power_limit_w, " W")),
        ("PCIe", _pcie(gpu)),
        ("driver", f"{_or(gpu.driver)} · CUDA up to {_or(gpu.cuda)}"),
        ("UUID", gpu.uuid),
    ]
    if gpu.parent_uuid:
        rows.append(("MIG, part of", gpu.parent_uuid))
    elif gpu.mig is not None:
        rows.append(("MIG", _switch(gpu.mig)))
    return rows


def _gpu_memory(gpu: GpuSpec) -> str:
    bandwidth = None if gpu.bandwidth is None else gpu.bandwidth / 1e9  # decimal, as data sheets give it
    ecc = "" if gpu.ecc is None else f" · ECC {_switch(gpu.ecc)}"
    return f"{units.size(gpu.memory)} · {_with(gpu.bus_width, ' bit')} · {_with(bandwidth, ' GB/s in theory')}{ecc}"


def _pcie(gpu: GpuSpec) -> str:
    most = f"generation {units.number(gpu.pcie_generation_max)} x{units.number(gpu.pcie_width_max)}"
    now = f"generation {units.number(gpu.pcie_generation)} x{units.number(gpu.pcie_width)}"
    return f"{now} now, {most} at most"


def _switch(value: bool) -> str:
    return "on" if value else "off"


def _or(text: str | None) -> str:
    return text or units.UNKNOWN


def _with(value: float | None, unit: str) -> str:
    return units.UNKNOWN if value is None else units.number(value) + unit


def _mhz(value: float | None, after: str = "") -> str:
    return _with(value, " MHz" + after)
