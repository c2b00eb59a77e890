"""Out-of-memory errors of the present run: what the probe saw, joined with what was known of the last good step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from memtop.model import oom_text
from memtop.model.forecast import highest
from memtop.model.forecast_record import ForecastRecord
from memtop.model.ledger import Whole
from memtop.model.oom import Change, Explanation, Facts, Shape, batch_changes, fragmented, freed, remedies, shortfall
from memtop.model.oom_changes import changed
from memtop.model.records import DeviceRecord, MemoryRecord, ModelRecord
from memtop.model.snapshot import DeepLook
from memtop.model.text import one_line
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
    forecast: ForecastRecord | None = None
    """For that device."""
    room: Callable[[int], int | None] = lambda batch: None
    """What tensors can have there in a step of a batch size, bytes."""
    look: DeepLook | None = None
    """The newest at that device."""
    model: ModelRecord | None = None
    sample: DeviceRecord | None = None
    """The newest reading of that device."""


class Ooms:
    """The newest failure."""

    def __init__(self) -> None:
        self.newest: Explanation | None = None
        self.count = 0

    def heard(self, t: float, told: Oom, whole: Whole, before: Before) -> Explanation:
        """The probe's picture at run second `t`; `whole` are its bytes with what surrounds them on the device."""
        facts = _facts(told, whole, before)
        if told.unwound:
            facts = replace(facts, lost=_freed(told, facts)[0])
        place = told.place
        self.count += 1
        self.newest = Explanation(
            t=t,
            step=told.step,
            device=facts.device,
            asked=facts.asked,
            short=None if told.worker is not None else shortfall(facts),
            available=facts.available,
            bytes=facts.bytes,
            total=facts.total,
            worker=told.worker,
            place=None if place is None else f"{one_line(place.file, 400)}:{place.line}",
            text=None if place is None or place.text is None else one_line(place.text, 200),
            module=None if told.module is None else one_line(told.module, 300),
            cached=facts.cached,
            largest_free=facts.largest_free,
            fragmented=fragmented(facts),
            limit=facts.limit,
            changes=_changes(told, whole, before),
            remedies=remedies(facts) if told.worker is None else (),
            notes=tuple(one_line(note) for note in told.notes),
            batch=facts.batch,
            freed=_freed(told, facts) if told.unwound and told.worker is None else None,
        )
        return self.newest

    def stepped(self, step: int) -> bool:
        """A step has ended: a failure before it was caught. True when that is news."""
        return (self.newest is None or step >= self.newest.step) and self.survived()

    def survived(self) -> bool:
        """The program has outlived a failure. True when that is news."""
        known = self.newest
        if known is None or known.caught or known.killed:
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
            total=None if host is None else host.memory_total,
            available=None,
            killed=True,
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
            batch=before.batch,
        )
        return self.newest


def _full(host: DeviceRecord | None) -> bool:
    if host is None or not host.memory_total or host.memory_free is None:
        return False
    return host.memory_free < (1 - _NEARLY) * host.memory_total


def _facts(told: Oom, whole: Whole, before: Before) -> Facts:
    failed = _batch(_shapes(told.inputs_now)) or _batch(_shapes(told.inputs)) or before.batch
    per_sample, activations = _scaled(told, before, failed)
    forecast, longer = before.forecast, _longer(told)
    same = forecast is not None and longer[0] == longer[1]
    other = changed(before.look, before.model, forecast, failed) if same and forecast and failed else None
    available = _available(told, whole) if told.worker is None else None
    return Facts(
        device=one_line(told.device, 20),
        step=told.step,
        asked=told.asked,
        bytes=whole.bytes,
        total=whole.total,
        available=available,
        limit=one_line(told.limit.name, 40)
        if told.limit is not None and available is not None and available == _left(told)
        else None,
        largest_free=told.largest_free,
        cached=told.cached,
        batch=failed,
        per_sample=per_sample,
        others=_others(before.sample),
        peak_per_sample=_peak_per_sample(told, before, failed),
        scaling=sum(told.bytes.get(name) or 0 for name in ("inputs", "activations", "temporaries", "other_tensors")),
        activations=activations,
        half=told.half,
        leaves=told.leaves,
        optimizers=[one_line(name, 60) for name in told.optimizers],
        lines=forecast.phases if same and forecast else (),
        fits=forecast.max_batch_size if same and forecast else None,
        room=_room(told, before.room(failed)) if same and failed else None,
        room_of_halves=_room(told, before.room(max(1, failed // 2))) if same and failed else None,
        changed=None if other is None else other.lines,
        segments=0 if other is None else other.segments,
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
    batch, forecast = failed or before.batch or 1, before.forecast
    line = highest(() if forecast is None else forecast.phases, batch)
    if line is None or (each := line.tangent(batch)[1]) <= 0:
        return None
    longer = _longer(told)
    return each * longer[0] // longer[1]


def _available(told: Oom, whole: Whole) -> int | None:
    if told.device_free is not None:
        return told.device_free
    free, left = whole.bytes.get("free"), _left(told)
    return free if left is None else left if free is None else min(left, free)


def _left(told: Oom) -> int | None:
    """Of a limit on the process."""
    return None if told.limit is None else max(0, told.limit.bytes - told.limit.used)


def _room(told: Oom, room: int | None) -> int | None:
    """What tensors can have in all, as the forecasts have it; on CUDA no more than the allocator could get."""
    if room is None or told.allocator is None or told.device_free is None:
        return room
    return min(room, told.allocator.reserved + told.device_free)


def _freed(told: Oom, facts: Facts) -> tuple[int, int]:
    if told.limit is None or facts.limit is None:
        return freed(facts, None, None)
    return freed(facts, told.limit.used, told.limit.bytes)


def as_data(told: Explanation) -> dict[str, Any]:
    """For the log's event: what a person reads is English there."""
    plain = {name: one for name, one in msgspec.to_builtins(told).items() if name not in ("t", "caught", "rank")}
    texts = [oom_text.remedy(one, told) for one in told.remedies]
    plain["remedies"] = [{"text": text, **one} for text, one in zip(texts, plain["remedies"], strict=True)]
    plain["changes"] = [oom_text.change(one, told) for one in told.changes]
    return plain


def _shapes(told: list[tuple[list[int], str]]) -> list[Shape]:
    return [(tuple(shape), one_line(dtype, 20)) for shape, dtype in told]


def _batch(shapes: list[Shape]) -> int | None:
    return shapes[0][0][0] if shapes and shapes[0][0] else None


def _changes(told: Oom, whole: Whole, before: Before) -> tuple[Change, ...]:
    found = [Change(before=old, now=new) for old, new in batch_changes(_shapes(told.inputs), _shapes(told.inputs_now))]
    ended = before.moments.get("step_end")
    then = None if ended is None else ended.bytes.get("other_processes")
    now = whole.bytes.get("other_processes")
    if told.limit is None and then is not None and now is not None and now - then >= _OTHERS:
        found.append(Change(others=now - then))
    return tuple(found)
