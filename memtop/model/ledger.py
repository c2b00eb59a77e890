"""Tensors from inside and the device from outside, joined so that the parts sum to the whole, in integer bytes.

Two sources read at two instants do not add up by themselves. The anchor for the process is the probe's reading; what
surrounds it comes from the device's reading, with what the process held *then* taken off. What the process has
gained or lost since is put where it came from: `free`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from memtop.model.categories import TENSORS
from memtop.model.records import DeviceRecord

Bytes = dict[str, int | None]


class Counters(msgspec.Struct, frozen=True, kw_only=True):
    """torch's caching allocator at one instant, bytes."""

    requested: int
    """What live tensors asked for."""
    allocated: int
    active: int
    reserved: int


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    """A device's bytes by category, and what they sum to."""

    bytes: Bytes
    total: int | None
    notes: tuple[str, ...] = ()


def known(tensors: Mapping[str, int | None]) -> int:
    """The tensor bytes that have a category."""
    return sum(tensors.get(name) or 0 for name in TENSORS)


def on_cpu(tensors: Mapping[str, int | None], host: DeviceRecord | None, then: int) -> Whole:
    """The host's memory around `tensors`. `then`: the known tensor bytes when the tree's memory was read."""
    parts: Bytes = {name: tensors.get(name) for name in TENSORS}
    now = known(parts)
    if host is None or host.memory_total is None or host.memory_free is None:
        parts |= dict.fromkeys(("runtime", "unbacked", "other_processes", "free"))
        return Whole(bytes=parts, total=None, notes=("device: not read yet",))
    tree, notes = _tree(host)
    if tree is None:
        other = max(0, host.memory_total - host.memory_free - then)
        parts |= {"runtime": None, "unbacked": None}
        notes += ("runtime is unknown: other_processes holds it",)
        outside = 0
    else:
        outside = tree - then
        runtime = max(0, outside)
        unbacked = max(min(0, outside), -now)
        parts |= {"runtime": runtime, "unbacked": unbacked}
        outside = runtime + unbacked
        other = max(0, host.memory_total - host.memory_free - tree)
    return _filled(parts, host.memory_total, now + outside, other, notes)


def _tree(host: DeviceRecord) -> tuple[int | None, tuple[str, ...]]:
    """Bytes of the target's process tree: PSS, else the summed RSS, said plainly."""
    if host.tree_pss is not None:
        return host.tree_pss, ()
    if host.tree_rss is not None:
        return host.tree_rss, ("runtime rests on RSS: PSS can't be read",)
    return None, ()


def on_cuda(
    tensors: Mapping[str, int | None], counters: Counters | None, gpu: DeviceRecord | None, reserved_then: int | None
) -> Whole:
    """A GPU's memory around `tensors`. `reserved_then`: torch's reserve when NVML was read; `None` where that was
    before the probe's first word: how much of the process was torch's is not known then."""
    parts: Bytes = {name: tensors.get(name) for name in TENSORS}
    notes: tuple[str, ...] = ()
    if counters is None:
        parts |= dict.fromkeys(("rounding", "pending_free", "cached"))
        reserved = known(parts)
        notes = ("rounding, pending_free and cached are unknown: free or context holds them",)
    else:
        reserved = counters.reserved
        parts["other_tensors"] = counters.requested - known(parts | {"other_tensors": None})
        parts["rounding"] = counters.allocated - counters.requested
        parts["pending_free"] = counters.active - counters.allocated
        parts["cached"] = counters.reserved - counters.active
        if parts["temporaries"] is None:
            notes = ("temporaries are in other_tensors: telling them apart takes a deep look",)
    if gpu is None or gpu.memory_total is None or gpu.memory_free is None:
        parts |= dict.fromkeys(("context", "other_processes", "free"))
        return Whole(bytes=parts, total=None, notes=(*notes, "device: not read yet, or NVML does not answer"))
    process = _process(gpu)
    before = reserved if reserved_then is None else reserved_then
    used = gpu.memory_total - gpu.memory_free
    if process is None or (reserved_then is None and counters is not None):
        parts["context"], context = None, 0
        why = "NVML does not tell this process's memory" if process is None else "NVML was read before torch's reserve"
        notes += (f"context is unknown ({why}): other_processes holds it",)
        other = max(0, used - before)
    else:
        context = parts["context"] = max(0, process - before)
        other = max(0, used - max(process, before))
    return _filled(parts, gpu.memory_total, reserved + context, other, notes)


def _process(gpu: DeviceRecord) -> int | None:
    """What NVML says our processes hold on this GPU; `None` where one of them is not told."""
    ours = [process.bytes for process in gpu.processes or () if process.ours]
    if not ours or any(one is None for one in ours):
        return None
    return sum(one for one in ours if one is not None)


def _filled(parts: Bytes, total: int, inside: int, other: int, notes: tuple[str, ...]) -> Whole:
    """`free` is what is left; where readings of two instants leave less than nothing, others give way."""
    free = total - inside - other
    if free < 0:
        notes += (f"two readings disagree by {-free} bytes, taken off other_processes",)
        other, free = other + free, 0
    parts |= {"other_processes": other, "free": free}
    return Whole(bytes=parts, total=total, notes=notes)
