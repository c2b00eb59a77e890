"""What the CPU is and what it does now: cores, RAM, the target's processes, limits."""

from __future__ import annotations

from rich.segment import Segment

from memtop.model import units
from memtop.model.i18n import _
from memtop.model.records import DeviceRecord
from memtop.model.snapshot import Snapshot
from memtop.model.specs import HostSpec
from memtop.model.text import harmless
from memtop.tui.draw.cells import Row
from memtop.tui.draw.facts import LABEL, Ranked, label, of, percent, with_meter, words
from memtop.tui.draw.spark import cores
from memtop.tui.palette import Palette
from memtop.tui.view import View

_ISA = (
    ("AMX", ("amx_bf16", "amx_int8", "amx_tile")),
    ("AVX-512", ("avx512f",)),
    ("bf16", ("avx512_bf16", "amx_bf16", "bf16")),
    ("AVX2", ("avx2",)),
    ("SVE", ("sve",)),
    ("NEON", ("asimd", "neon")),
)
"""Instruction sets as people know them, by the kernel's flags."""


_FEW_CORES = 8


def host_lines(snapshot: Snapshot, width: int, view: View, wide: bool = False) -> list[Ranked]:
    """CPU, cores, RAM, the target's processes, limits; with `wide` its caches and instruction sets too."""
    palette, now = view.palette, snapshot.cpu
    lines: list[Ranked] = []
    if snapshot.host is not None:
        lines.append((3, [label(_("CPU"), palette), *words(_cpu_spec(snapshot.host), width - LABEL, palette, "text")]))
        if wide:
            lines += _more_spec(snapshot.host, width, palette)
    if now is None:
        return [*lines, (1, [label("", palette), Segment(_("— no reading yet"), palette["faint"])])]
    few = len(now.per_core or ()) <= _FEW_CORES
    lines.append((0, _busy(now, width, palette, few)))
    if now.per_core and not few:
        lines.append((4, [label(_("cores"), palette), *cores(now.per_core, width - LABEL, palette)]))
    lines.append((1, _ram(snapshot, width, view)))
    lines.append((2, _tree(snapshot, width, view)))
    lines += _beside(now, width, view)
    if snapshot.host is not None and len(snapshot.host.numa) > 1:
        nodes = [f"node {n.node} {n.cpus} {units.size(n.memory, view.unit)}" for n in snapshot.host.numa]
        lines.append((7, [label(_("NUMA"), palette), *words([*nodes], width - LABEL, palette)]))
    return lines


def _more_spec(host: HostSpec, width: int, palette: Palette) -> list[Ranked]:
    """Caches and instruction sets, a line each."""
    caches = [f"{level} {units.size(size)}" for level, size in host.caches.items()]
    top = (
        None
        if host.frequency_max_mhz is None
        else _("up to {value:.2f} GHz").format(value=host.frequency_max_mhz / 1000)
    )
    first = words([*caches, top], width - LABEL, palette)
    flags = words([" ".join(harmless(flag) for flag in host.features) or None], width - LABEL, palette)
    return [(5, [label("", palette), *row]) for row in (first, flags) if row]


def _cpu_spec(host: HostSpec) -> list[str | None]:
    isa = " ".join(name for name, flags in _ISA if any(flag in host.features for flag in flags))
    threads = None if host.threads is None else _("{threads} threads").format(threads=host.threads)
    if host.usable_threads is not None and host.usable_threads != host.threads:
        threads = _("{usable_threads} of {value} threads").format(
            usable_threads=host.usable_threads, value=host.threads or "—"
        )
    layout = (
        None
        if host.cores is None
        else _("{value}×{value2} cores").format(value=host.sockets or 1, value2=host.cores // (host.sockets or 1))
    )
    l3 = host.caches.get("L3")
    return [
        harmless(_short_cpu(host.cpu_model or "—")),
        harmless(host.microarchitecture) if host.microarchitecture else None,
        layout,
        threads,
        isa or None,
        None if l3 is None else f"L3 {units.size(l3)}",
    ]


def _short_cpu(name: str) -> str:
    for noise in ("(R)", "(TM)", "(tm)", " CPU", " Processor", "Intel ", "AMD "):
        name = name.replace(noise, "" if noise not in ("Intel ", "AMD ") else noise)
    return " ".join(name.split("@")[0].split())


def _busy(now: DeviceRecord, width: int, palette: Palette, few: bool) -> Row:
    """The load of all cores; few cores stand each beside it."""
    row = [label(_("load"), palette), *percent(now.utilization, palette)]
    if few and len(now.per_core or ()) > 1:
        row += [Segment(" "), *cores(now.per_core or (), _FEW_CORES, palette)]
    parts = [
        None if now.clock_sm_mhz is None else f"{now.clock_sm_mhz / 1000:.2f} GHz",
        None if now.temperature is None else f"{now.temperature:.0f} °C",
        None if now.power is None else f"{now.power:.0f} W",
    ]
    return with_meter(row, words(parts, 28, palette), now.utilization, 100, width, palette)


def _ram(snapshot: Snapshot, width: int, view: View) -> Row:
    now = snapshot.cpu
    assert now is not None
    limited = now.cgroup_limit is not None
    part, whole = now.memory_used, now.memory_total
    end = words([_("cgroup limit") if limited else None, _swap(now, view)], 34, view.palette)
    start = [label(_("RAM"), view.palette), *of(part, whole, view)]
    return with_meter(start, end, part, whole, width, view.palette)


def _swap(now: DeviceRecord, view: View) -> str | None:
    if not now.swap_total:
        return _("no swap") if now.swap_total == 0 else None
    return f"swap {units.size(now.swap_used, view.unit)}"


def _tree(snapshot: Snapshot, width: int, view: View) -> Row:
    now, palette = snapshot.cpu, view.palette
    assert now is not None
    old = (
        ""
        if now.tree_pss_t is None or snapshot.t - now.tree_pss_t < 10
        else _(" {duration} ago").format(duration=units.duration(snapshot.t - now.tree_pss_t))
    )
    count = now.tree_processes
    who = None if count is None else _("1 process") if count == 1 else _("{count} processes").format(count=count)
    parts = [
        f"RSS {units.size(now.tree_rss, view.unit)}",
        f"PSS {units.size(now.tree_pss, view.unit)}{old}",
        who,
    ]
    return [label(_("target"), palette), *words([*parts], width - LABEL, palette, "text")]


def _beside(now: DeviceRecord, width: int, view: View) -> list[Ranked]:
    """Pinned memory, /dev/shm and the cgroup's own count."""
    palette = view.palette
    shm = (
        None
        if now.shm_used is None
        else _("/dev/shm {size} of {size2}").format(
            size=units.size(now.shm_used, view.unit), size2=units.size(now.shm_total, view.unit)
        )
    )
    group = (
        None
        if now.cgroup_used is None or now.cgroup_limit is None
        else _("cgroup {size} of {size2}").format(
            size=units.size(now.cgroup_used, view.unit), size2=units.size(now.cgroup_limit, view.unit)
        )
    )
    pinned = None if now.pinned is None else f"pinned {units.size(now.pinned, view.unit)}"
    row = words([pinned, shm, group], width - LABEL, palette)
    return [(6, [label(_("beside"), palette), *row])] if row else []
