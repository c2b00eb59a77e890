"""What the GPUs are and what the one in focus does now."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment

from memtop.model import units
from memtop.model.i18n import _
from memtop.model.records import DeviceRecord
from memtop.model.snapshot import Snapshot
from memtop.model.specs import GpuSpec
from memtop.model.text import harmless
from memtop.tui.draw.cells import wrap
from memtop.tui.draw.facts import LABEL, Ranked, label, of, percent, with_meter, words
from memtop.tui.view import View


def spec_of(snapshot: Snapshot) -> GpuSpec | None:
    uuid = snapshot.gpu.uuid if snapshot.gpu else None
    return next((gpu for gpu in snapshot.gpus if gpu.uuid == uuid), snapshot.gpus[0] if snapshot.gpus else None)


def gpu_lines(snapshot: Snapshot, width: int, view: View) -> list[Ranked]:
    """The GPU in focus: what it is, its load, heat, power and memory; the others by name."""
    palette = view.palette
    spec, now = spec_of(snapshot), snapshot.gpu
    if spec is None:
        return _none(harmless(snapshot.gpu_note or _("no reading yet")), width, view)
    lines: list[Ranked] = [(2, [label(_("GPU"), palette), *words(_gpu_spec(spec), width - LABEL, palette, "text")])]
    if now is not None:
        lines += _gpu_now(now, spec, width, view)
    lines.append((7, [label("", palette), *words(_gpu_links(spec), width - LABEL, palette)]))
    for process in (now.processes or ()) if now is not None else ():
        who = f"{harmless(process.name or '?')} {process.pid}" + (_(" (the target)") if process.ours else "")
        lines.append(
            (9, [label("", palette), *words([who, units.size(process.bytes, view.unit)], width - LABEL, palette)])
        )
    others = [gpu for gpu in snapshot.gpus if gpu is not spec]
    for other in others:
        name = harmless(other.name or other.uuid)
        seen = other.visible_as or _("hidden from the target")
        lines.append((8, [label("", palette), *words([name, seen, units.size(other.memory)], width - LABEL, palette)]))
    return lines


def _none(note: str, width: int, view: View) -> list[Ranked]:
    """Why there is no GPU: whole where there is room, else what comes before the colon."""
    palette, room = view.palette, width - LABEL
    if cell_len(note) <= room:
        return [(3, [label(_("GPU"), palette), Segment(note, palette["dim"])])]
    head, _mark, rest = min((note.partition(": "), note.partition(" (")), key=lambda parts: len(parts[0]))
    lines = [head, *wrap(rest, room)] if rest and cell_len(head) <= room else wrap(note, room)
    rows = [
        [label("" if index else _("GPU"), palette), Segment(line, palette["dim"])] for index, line in enumerate(lines)
    ]
    return [(3 if index == 0 else 6, row) for index, row in enumerate(rows)]


def _gpu_now(now: DeviceRecord, spec: GpuSpec, width: int, view: View) -> list[Ranked]:
    palette = view.palette
    watts = None if now.power is None else f"{now.power:.0f}"
    limit = now.power_limit or spec.power_limit_w
    heat = [
        None if now.temperature is None else f"{now.temperature:.0f} °C",
        None if watts is None else f"{watts} W" if limit is None else f"{watts}/{limit:.0f} W",
        None if now.clock_sm_mhz is None else f"{now.clock_sm_mhz:,.0f} MHz",
    ]
    start = [label(_("busy"), palette), *percent(now.utilization, palette)]
    lines = [
        (
            0,
            with_meter(
                start,
                words([*heat], max(16, width - LABEL - 15), palette, "text"),
                now.utilization,
                100,
                width,
                palette,
                True,
            ),
        )
    ]
    held = [label(_("VRAM"), palette), *of(now.memory_used, now.memory_total, view)]
    mem = (
        None
        if now.memory_utilization is None
        else _("bus {memory_utilization:.0f} %").format(memory_utilization=now.memory_utilization)
    )
    lines.append((1, with_meter(held, words([mem], 12, palette), now.memory_used, now.memory_total, width, palette)))
    rest = [
        f"throttled: {', '.join(harmless(reason) for reason in now.throttle)}" if now.throttle else None,
        None if now.fan is None else _("fan {fan:.0f} %").format(fan=now.fan),
        None
        if now.clock_memory_mhz is None
        else _("memory {clock_memory_mhz:,.0f} MHz").format(clock_memory_mhz=now.clock_memory_mhz),
        None
        if now.memory_reserved is None
        else _("driver keeps {size}").format(size=units.size(now.memory_reserved, view.unit)),
    ]
    row = words([*rest], width - LABEL, palette, "warn" if now.throttle else "dim")
    return [*lines, (4 if now.throttle else 6, [label("", palette), *row])] if row else lines


def _gpu_spec(spec: GpuSpec) -> list[str | None]:
    return [
        harmless(spec.name or spec.uuid),
        None if spec.architecture is None else f"{harmless(spec.architecture)} {spec.compute_capability or ''}".strip(),
        None if spec.sms is None else f"{spec.sms} SMs",
        None if spec.cuda_cores is None else f"{spec.cuda_cores:,} cores",
        "MIG" if spec.mig else None,
    ]


def _gpu_links(spec: GpuSpec) -> list[str | None]:
    bus = None if spec.bus_width is None else f"{spec.bus_width:,}-bit"
    speed = None if spec.bandwidth is None else f"{spec.bandwidth / 1e12:.2f} TB/s"
    link = (
        None
        if spec.pcie_generation is None
        else _("PCIe {pcie_generation} ×{value}").format(
            pcie_generation=spec.pcie_generation, value=spec.pcie_width or "—"
        )
    )
    return [
        " ".join(part for part in (bus, speed) if part) or None,
        link,
        None if spec.cuda is None else f"CUDA {harmless(spec.cuda)}",
        None if spec.ecc is None else f"ECC {'on' if spec.ecc else 'off'}",
    ]
