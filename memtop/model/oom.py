"""Out of memory, explained: how much was short, what took it, what changed, and what would have worked. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

from memtop.model.forecast import Affine, peak_at
from memtop.model.whatif import Line

Bytes = Mapping[str, int | None]
Shape = tuple[tuple[int, ...], str]
"""Shape and dtype of one tensor of a batch."""

_ROOM = 94
"""Per cent of what is left that a smaller batch is to fill."""
Kind = Literal["pieces", "others", "batch", "checkpoint", "half", "optimizer"]
_MOST = 3
"""Remedies told."""
_MARGIN = 1.05
"""How far what is foretold of a changed training must stay below the limit to be promised; how far off such figures
were, `tests/bench/bench_whatif.py` says."""
_WORTH = 50
"""The part of a device that a remedy must save to be told after a kill."""
_LEAVES = 4
"""Modules from which on checkpoints are set at the square root of their number."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one failure. Sizes are bytes; `None` is not known."""

    device: str
    step: int
    """The step that was under way; 0 where no word came from inside."""
    asked: int | None
    """Of the allocation that failed."""
    bytes: Bytes
    """By category, at that instant."""
    total: int | None
    """Of the whole device."""
    available: int | None
    """That could still be had at that instant."""
    limit: str | None = None
    """The name of a limit on the process (`RLIMIT_AS`)."""
    largest_free: int | None = None
    """The largest piece of what CUDA's allocator caches that the request could have had."""
    cached: int | None = None
    """All that it caches for nobody."""
    batch: int | None = None
    """Samples of the batch that failed."""
    per_sample: int | None = None
    """Bytes a sample of activations and inputs, measured at the last good step (or at the failure itself)."""
    peak_per_sample: int | None = None
    """Bytes a sample at the peak of the newest step that was watched whole: all but what the model and its optimizer
    hold."""
    others: int | None = None
    """What other processes hold and could free, where that is less than `other_processes`, which on a GPU holds the
    driver's own reserve, too."""
    scaling: int = 0
    """Bytes held at that instant that a smaller batch would have held less of."""
    activations: int | None = None
    """At the end of forward of the batch that failed, by `per_sample`, or what was held."""
    half: bool = False
    """Whether activations are in half precision already."""
    leaves: int = 0
    """Modules without children."""
    optimizers: Sequence[str] = ()
    killed: bool = False
    """By the kernel."""
    lost: int = 0
    """At least so many bytes were let go of while the error rose: more than all that is known, and the cause."""
    lines: Sequence[Affine] = ()
    """The forecast: bytes of the whole step as functions of the batch size; empty where it is not known, or where
    samples as large as these were not looked at."""
    fits: int | None = None
    """The largest batch that the forecast says fits."""
    room: int | None = None
    """What tensors could have had in all."""
    room_of_halves: int | None = None
    """The same in blocks half as large: the C library may have less of those under a limit on the process."""
    changed: Mapping[str, Line] | None = None
    """By name, the step at the batch that failed under other settings: what `whatif` says."""
    segments: int = 0
    """Of its checkpoints."""

    @property
    def foreseen(self) -> bool:
        """Whether the forecast explains the failure: a step with this batch needs more than there was."""
        return bool(self.lines and self.batch and self.room is not None) and self.need() > (self.room or 0)

    def need(self) -> int:
        """The peak of a step with this batch, as forecast."""
        return peak_at(self.lines, self.batch or 1)


class Remedy(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do."""

    kind: Kind
    saves: int
    """Bytes."""
    enough: bool
    """Whether it alone would have let this allocation through."""
    estimate: bool
    """Whether `saves` is foretold, not read off what was held."""
    whole: bool = False
    """Whether the whole step is forecast to fit then, not this one allocation alone."""
    count: int = 0
    """The smaller batch; segments of checkpoints."""
    name: str = ""
    """The device; the optimizers in use."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is different from the last good step."""

    before: Shape | None = None
    """Of one tensor of the batch."""
    now: Shape | None = None
    others: int = 0
    """Bytes that other processes have taken since."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """One failure in whole."""

    t: float
    step: int
    device: str
    asked: int | None
    short: int | None
    """Bytes that were missing; `None` where neither the request nor what was left is known."""
    available: int | None
    bytes: Bytes
    total: int | None
    place: str | None
    """`train.py:12`."""
    text: str | None
    """That source line."""
    module: str | None
    cached: int | None
    largest_free: int | None
    fragmented: bool
    """Whether what the allocator caches would have been enough in one piece."""
    limit: str | None
    changes: tuple[Change, ...]
    """What is different from the last good step."""
    remedies: tuple[Remedy, ...]
    killed: bool = False
    """By the kernel, from outside: nothing of it was seen from inside."""
    certain: bool = True
    """Whether the kernel itself counts a kill."""
    caught: bool = False
    """The program went on."""
    rank: int | None = None
    """Which of several ranks ran out; `None` where there is one."""
    notes: tuple[str, ...] = ()
    batch: int | None = None
    """Samples of the batch that failed."""
    worker: int | None = None
    """Which worker of a DataLoader it was that ran out; all figures are of the process that trains then."""
    freed: tuple[int, int] | None = None
    """At least and at most so many bytes were held at that instant beside `bytes`, read only after torch's
    own code had let go of them; (0, -1) where no bound is known, `None` where it is the instant itself."""


def shortfall(facts: Facts) -> int | None:
    """Bytes that were missing. Where the figures contradict each other (two readings of two instants), all that was
    asked for."""
    if facts.asked is None:
        return None
    if facts.available is None or facts.available >= facts.asked:
        return facts.asked
    return facts.asked - facts.available


def fragmented(facts: Facts) -> bool:
    """Whether the cache and what was free would have been enough, had they been one piece."""
    if not facts.cached or facts.asked is None or facts.available is None:
        return False
    return facts.cached + facts.available >= facts.asked > (facts.largest_free or 0)


def freed(facts: Facts, used: int | None, limit: int | None) -> tuple[int, int]:
    """What was let go of while the error rose, at least and at most. The request did not fit into `limit` bytes at that
    instant, and `used` are taken of them now; both are known under a limit on the process alone."""
    if used is None or limit is None or facts.asked is None:
        return 0, -1
    left = max(0, limit - used)
    return max(0, left - facts.asked), left


def remedies(facts: Facts) -> tuple[Remedy, ...]:
    """Up to three that would have worked alone, else those that would together; empty where nothing would."""
    short = shortfall(facts)
    if short is None:
        return _of_a_kill(facts) if facts.killed else ()
    found = [one for one in _candidates(facts, short) if one.saves > 0]
    alone = [one for one in found if one.enough]
    if alone:
        return tuple(alone[:_MOST])
    if facts.foreseen:
        short = max(short, facts.need() - (facts.room or 0))
    most = sorted(_apart(found), key=lambda one: -one.saves)[:_MOST]
    return tuple(most) if sum(one.saves for one in most) >= short else ()


def _of_a_kill(facts: Facts) -> tuple[Remedy, ...]:
    """What would have helped: that it would have been enough can't be said, and what saves next to nothing is not told.
    Where the process's own memory is not known it is among that of the others."""
    least = (facts.total or 0) // _WORTH
    found = [replace(one, enough=False) for one in _candidates(facts, 0) if one.saves > least]
    return tuple(one for one in found if one.kind != "others" or facts.bytes.get("runtime") is not None)[:_MOST]


def _apart(found: Sequence[Remedy]) -> list[Remedy]:
    """Those that save different bytes: of several that save activations, the one that saves most."""
    by_kind: dict[str, Remedy] = {}
    for one in found:
        kind = "activations" if one.kind in ("batch", "checkpoint", "half") else one.kind
        if kind not in by_kind or by_kind[kind].saves < one.saves:
            by_kind[kind] = one
    return list(by_kind.values())


def _candidates(facts: Facts, short: int) -> list[Remedy]:
    """Everything that saves something, what costs the person least first."""
    made = [_one_piece(facts, short), _others(facts, short), _smaller(facts, short), _checkpoint(facts, short)]
    made += [_half(facts, short), _optimizer(facts, short)]
    return [one for one in made if one is not None]


def _one_piece(facts: Facts, short: int) -> Remedy | None:
    if not fragmented(facts):
        return None
    saves = facts.cached or 0
    return Remedy(kind="pieces", saves=saves, enough=saves >= short, estimate=False)


def _others(facts: Facts, short: int) -> Remedy | None:
    others = facts.bytes.get("other_processes") if facts.others is None else facts.others
    if not others or facts.limit is not None:
        return None
    enough = facts.need() <= (facts.room or 0) + others if facts.foreseen else others >= short
    return Remedy(
        kind="others", saves=others, enough=enough, estimate=False, whole=facts.foreseen and enough, name=facts.device
    )


def _smaller(facts: Facts, short: int) -> Remedy | None:
    """The largest smaller batch: that of the forecast where it foretells this failure, else one that saves enough;
    `None` where not even a single sample would."""
    batch, each = facts.batch, facts.peak_per_sample or facts.per_sample
    if batch and facts.foreseen and facts.fits is not None:
        if not 0 < facts.fits < batch:
            return None
        saves = facts.need() - peak_at(facts.lines, facts.fits)
        return Remedy(kind="batch", saves=saves, enough=True, estimate=True, whole=True, count=facts.fits)
    if not batch or not each or facts.lost > facts.scaling:
        return None
    fewer = max(1, math.ceil(short / each))
    if facts.peak_per_sample and facts.available is not None and facts.asked is not None:
        # Past this allocation others come: what is left must hold the batch at its highest, and what no forecast sees
        # (pages, arenas, scratch inside operators).
        room = (facts.available + facts.scaling) * _ROOM // 100
        fewer = max(fewer, batch - room // each)
    if fewer >= batch:
        return None
    saves = fewer * each
    return Remedy(kind="batch", saves=saves, enough=saves >= short, estimate=True, count=batch - fewer)


def _checkpoint(facts: Facts, short: int) -> Remedy | None:
    """Segments at the square root of the number of layers keep about twice the root of what all keep; two keep half."""
    if facts.changed is not None:
        return _foretold(facts, short, "checkpoint", "checkpointing")
    if not facts.activations or facts.lost > facts.scaling:
        return None
    root = math.isqrt(facts.leaves) if facts.leaves >= _LEAVES else 0
    kept = math.ceil(facts.activations * 2 / root) if root > 4 else math.ceil(facts.activations / 2)
    saves = facts.activations - kept
    count = root if root > 4 else 2
    return Remedy(kind="checkpoint", saves=saves, enough=saves >= short, estimate=True, count=count)


def _half(facts: Facts, short: int) -> Remedy | None:
    if facts.half:
        return None
    if facts.changed is not None:
        return _foretold(facts, short, "half", "bf16 autocast")
    if not facts.activations or facts.lost > facts.scaling:
        return None
    saves = facts.activations // 2
    return Remedy(kind="half", saves=saves, enough=saves >= short, estimate=True)


def _optimizer(facts: Facts, short: int) -> Remedy | None:
    state, names = facts.bytes.get("optimizer_state"), " + ".join(facts.optimizers)
    if not state or not names:
        return None
    if facts.changed is not None:
        return _foretold(facts, short, "optimizer", "SGD", names)
    return Remedy(kind="optimizer", saves=state, enough=state >= short, estimate=False, name=names)


def _foretold(facts: Facts, short: int, kind: Kind, change: str, name: str = "") -> Remedy | None:
    """A change that was worked out from the newest look, at the batch that failed."""
    line, count = (facts.changed or {}).get(change), facts.segments if kind == "checkpoint" else 0
    if line is None or line.now:
        return None
    room = facts.room_of_halves if kind == "half" else facts.room
    if kind != "optimizer" and not facts.foreseen and facts.lost > facts.scaling:
        return None
    fits = facts.foreseen and line.peak * _MARGIN <= (room or 0)
    enough = fits if facts.foreseen else line.saves >= short
    return Remedy(kind=kind, saves=line.saves, enough=enough, estimate=True, whole=fits, count=count, name=name)


def batch_changes(before: Sequence[Shape], now: Sequence[Shape]) -> list[tuple[Shape, Shape]]:
    """The tensors of a batch that are different, each with what it was."""
    return [(old, new) for old, new in zip(before, now, strict=False) if old != new]
