"""Out-of-memory errors of the present run: what the probe saw, joined with what was known of the last good step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec
from msgspec.structs import replace

from memtop.model.forecast import Affine, highest
from memtop.model.ledger import Whole
from memtop.model.oom import Explanation, Facts, Shape, batch_changes, fragmented, remedies, shortfall
from memtop.model.records import DeviceRecord, MemoryRecord
from memtop.model.text import one_line
from memtop.model.units import size
from memtop.protocol.oom import Oom

_OTHERS = 64 << 20
"""Bytes that others must have gained to be a change worth telling."""
_NEARLY = 0.95
"""Of the limit: memory that was as full as this when the target was killed."""


class Before(msgspec.Struct, frozen=True, kw_only=True):
    """The last good step."""

    moments: Mapping[str, MemoryRecord]
    """Of the failing device."""
    batch: int | None
    sample: DeviceRecord | None = None
    """The newest reading of that device."""
    lines: Sequence[Affine] = ()
    """The forecast for that device: bytes as functions of the batch size."""


class Ooms:
    """The newest failure."""

    def __init__(self) -> None:
        self.newest: Explanation | None = None
        self.count = 0

    def heard(self, t: float, told: Oom, whole: Whole, before: Before) -> Explanation:
        """The probe's picture at run second `t`; `whole` are its bytes with what surrounds them on the device."""
        facts = _facts(told, whole, before)
        place = told.place
        self.count += 1
        self.newest = Explanation(
            t=t,
            step=told.step,
            device=facts.device,
            asked=facts.asked,
            short=shortfall(facts),
            available=facts.available,
            bytes=facts.bytes,
            total=facts.total,
            place=None if place is None else f"{one_line(place.file, 400)}:{place.line}",
            text=None if place is None or place.text is None else one_line(place.text, 200),
            module=None if told.module is None else one_line(told.module, 300),
            cached=facts.cached,
            largest_free=facts.largest_free,
            fragmented=fragmented(facts),
            limit=facts.limit,
            changes=_changes(told, whole, before),
            remedies=remedies(facts),
            notes=tuple(one_line(note) for note in told.notes),
        )
        return self.newest

    def stepped(self, step: int) -> bool:
        """A step has ended: a failure before it was caught. True when that is news."""
        known = self.newest
        if known is None or known.caught or known.killed or step < known.step:
            return False
        self.newest = replace(known, caught=True)
        return True

    def killed(
        self,
        t: float,
        step: int,
        kills: int | None,
        record: MemoryRecord | None,
        host: DeviceRecord | None,
        before: Before,
    ) -> Explanation | None:
        """The target was ended by SIGKILL. `kills`: processes of our group that the kernel's out-of-memory killer
        ended since the launch. `None` where memory was not the reason, as far as can be seen."""
        if not kills and not _full(host):
            return None
        bytes_ = {} if record is None else record.bytes
        forward = before.moments.get("forward_end")
        activations = None if forward is None else forward.bytes.get("activations")
        each = activations // before.batch if activations is not None and before.batch else None
        facts = Facts(
            device="cpu",
            step=step,
            asked=None,
            bytes=bytes_,
            total=None,
            available=None,
            batch=before.batch,
            per_sample=each,
            activations=activations,
        )
        self.newest = Explanation(
            t=t,
            step=step,
            device="cpu",
            asked=None,
            short=None,
            available=None,
            bytes=bytes_,
            total=None if host is None else host.memory_total,
            place=None,
            text=None,
            module=None,
            cached=None,
            largest_free=None,
            fragmented=False,
            limit=None,
            changes=(),
            remedies=remedies(facts),
            killed=True,
            certain=bool(kills),
            notes=("the figures are those of the last watched moment",) if record is not None else (),
        )
        return self.newest


def _full(host: DeviceRecord | None) -> bool:
    if host is None or not host.memory_total or host.memory_free is None:
        return False
    return host.memory_free < (1 - _NEARLY) * host.memory_total


def _facts(told: Oom, whole: Whole, before: Before) -> Facts:
    failed = _batch(_shapes(told.inputs_now)) or _batch(_shapes(told.inputs)) or before.batch
    per_sample, activations = _scaled(told, before, failed)
    return Facts(
        device=one_line(told.device, 20),
        step=told.step,
        asked=told.asked,
        bytes=whole.bytes,
        total=whole.total,
        available=_available(told, whole),
        limit=None if told.limit is None else one_line(told.limit.name, 40),
        largest_free=told.largest_free,
        cached=told.cached,
        batch=failed,
        per_sample=per_sample,
        others=_others(before.sample),
        peak_per_sample=_peak_per_sample(told, before, failed),
        scaling=sum(told.bytes.get(name) or 0 for name in ("inputs", "activations", "temporaries", "other_tensors")),
        activations=activations,
        leaves=told.leaves,
        optimizers=[one_line(name, 60) for name in told.optimizers],
    )


def _others(sample: DeviceRecord | None) -> int | None:
    """What other processes could free of a GPU: what NVML says of each, 0 where it names none. `None` for a host."""
    if sample is None or sample.device == "cpu":
        return None
    return sum(one.bytes or 0 for one in sample.processes or () if not one.ours)


def _scaled(told: Oom, before: Before, failed: int | None) -> tuple[int | None, int | None]:
    """Bytes a sample, and the activations that the batch that failed needs: by the last good step's forward, or by what
    is held where there was none. A sample that became longer counts for more, in proportion: at least that."""
    good = before.moments.get("forward_end")
    if good is None or not before.batch:
        held, batch, longer = told.bytes, failed, (1, 1)
    else:
        held, batch, longer = good.bytes, before.batch, _longer(told)
    activations, inputs = held.get("activations"), held.get("inputs")
    if not batch or activations is None:
        return None, activations
    each = (activations + (inputs or 0)) * longer[0] // (batch * longer[1])
    return each, activations * (failed or batch) * longer[0] // (batch * longer[1])


def _longer(told: Oom) -> tuple[int, int]:
    """Elements a sample of the batch that failed, and of the one before."""
    before, now = _shapes(told.inputs), _shapes(told.inputs_now)
    if not before or not now:
        return 1, 1
    return math.prod(now[0][0][1:]) or 1, math.prod(before[0][0][1:]) or 1


def _peak_per_sample(told: Oom, before: Before, failed: int | None) -> int | None:
    """What a sample adds to the peak of a batch as large as the one that failed, as forecast."""
    line = highest(before.lines, failed or before.batch or 1)
    if line is None or line.bytes_per_sample <= 0:
        return None
    longer = _longer(told)
    return line.bytes_per_sample * longer[0] // longer[1]


def _available(told: Oom, whole: Whole) -> int | None:
    if told.device_free is not None:
        return told.device_free
    free = whole.bytes.get("free")
    if told.limit is None:
        return free
    left = max(0, told.limit.bytes - told.limit.used)
    return left if free is None else min(left, free)


def _shapes(told: list[tuple[list[int], str]]) -> list[Shape]:
    return [(tuple(shape), one_line(dtype, 20)) for shape, dtype in told]


def _batch(shapes: list[Shape]) -> int | None:
    return shapes[0][0][0] if shapes and shapes[0][0] else None


def _changes(told: Oom, whole: Whole, before: Before) -> tuple[str, ...]:
    found = [
        f"the batch was {_shape(old)}, it is {_shape(new)}"
        for old, new in batch_changes(_shapes(told.inputs), _shapes(told.inputs_now))
    ]
    ended = before.moments.get("step_end")
    then = None if ended is None else ended.bytes.get("other_processes")
    now = whole.bytes.get("other_processes")
    if told.limit is None and then is not None and now is not None and now - then >= _OTHERS:
        found.append(f"other processes took {size(now - then)} more of {one_line(told.device, 20)}")
    return tuple(found)


def _shape(one: Shape) -> str:
    return f"({', '.join(str(count) for count in one[0])}) {one[1]}"
