"""Out of memory, explained: how much was short, what took it, what changed, and what would have worked. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

Bytes = Mapping[str, int | None]
Shape = tuple[tuple[int, ...], str]
"""Shape and dtype of one tensor of a batch."""

_ROOM = 94
"""Per cent of what is left that a smaller batch is to fill."""
_MOST = 3
"""Remedies told."""
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
    leaves: int = 0
    """Modules without children."""
    optimizers: Sequence[str] = ()


class Remedy(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do."""

    text: str
    saves: int
    """Bytes."""
    enough: bool
    """Whether it alone would have let this allocation through."""
    estimate: bool
    """Whether `saves` is foretold, not read off what was held."""


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
    changes: tuple[str, ...]
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


def remedies(facts: Facts) -> tuple[Remedy, ...]:
    """Up to three that would have worked alone, else those that would together; empty where nothing would."""
    short = shortfall(facts)
    if short is None:
        return tuple(_candidates(facts, 0))[:_MOST]
    found = [one for one in _candidates(facts, short) if one.saves > 0]
    alone = [one for one in found if one.enough]
    if alone:
        return tuple(alone[:_MOST])
    most = sorted(_apart(found), key=lambda one: -one.saves)[:_MOST]
    return tuple(most) if sum(one.saves for one in most) >= short else ()


def _apart(found: Sequence[Remedy]) -> list[Remedy]:
    """Those that save different bytes: of several that save activations, the one that saves most."""
    by_kind: dict[str, Remedy] = {}
    for one in found:
        kind = "activations" if one.estimate else one.text
        if kind not in by_kind or by_kind[kind].saves < one.saves:
            by_kind[kind] = one
    return list(by_kind.values())


def _candidates(facts: Facts, short: int) -> list[Remedy]:
    """Everything that saves something, what costs the person least first."""
    made = [_one_piece(facts, short), _others(facts, short), _smaller(facts, short), _checkpoint(facts, short)]
    made += [_half(facts, short), _optimizer(facts, short)]
    return [one for one in made if one is not None]


def _remedy(text: str, saves: int, short: int, *, estimate: bool) -> Remedy:
    return Remedy(text=text, saves=saves, enough=saves >= short, estimate=estimate)


def _one_piece(facts: Facts, short: int) -> Remedy | None:
    if not fragmented(facts):
        return None
    text = "set PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True: the cache was enough, but in pieces"
    return _remedy(text, facts.cached or 0, short, estimate=False)


def _others(facts: Facts, short: int) -> Remedy | None:
    others = facts.bytes.get("other_processes") if facts.others is None else facts.others
    if not others or facts.limit is not None:
        return None
    return _remedy(f"free what other processes hold on {facts.device}", others, short, estimate=False)


def _smaller(facts: Facts, short: int) -> Remedy | None:
    """The largest smaller batch that saves enough; `None` where not even a single sample would."""
    batch, each = facts.batch, facts.peak_per_sample or facts.per_sample
    if not batch or not each:
        return None
    fewer = max(1, math.ceil(short / each))
    if facts.peak_per_sample and facts.available is not None and facts.asked is not None:
        # Past this allocation others come: what is left must hold the batch at its highest, and what no forecast sees
        # (pages, arenas, scratch inside operators).
        room = (facts.available + facts.scaling) * _ROOM // 100
        fewer = max(fewer, batch - room // each)
    if fewer >= batch:
        return None
    text = f"batch {batch - fewer:,} instead of {batch:,} (accumulate gradients for the same effect)"
    return _remedy(text, fewer * each, short, estimate=True)


def _checkpoint(facts: Facts, short: int) -> Remedy | None:
    """Segments at the square root of the number of layers keep about twice the root of what all keep; two keep half."""
    if not facts.activations:
        return None
    root = math.isqrt(facts.leaves) if facts.leaves >= _LEAVES else 0
    kept = math.ceil(facts.activations * 2 / root) if root > 4 else math.ceil(facts.activations / 2)
    count = root if root > 4 else 2
    text = f"torch.utils.checkpoint in {count} segments, for about a third more time"
    return _remedy(text, facts.activations - kept, short, estimate=True)


def _half(facts: Facts, short: int) -> Remedy | None:
    if not facts.activations:
        return None
    return _remedy("torch.autocast with bfloat16 halves most activations", facts.activations // 2, short, estimate=True)


def _optimizer(facts: Facts, short: int) -> Remedy | None:
    state = facts.bytes.get("optimizer_state")
    if not state or not facts.optimizers:
        return None
    text = f"SGD without momentum instead of {' + '.join(facts.optimizers)}"
    return _remedy(text, state, short, estimate=False)


def batch_changes(before: Sequence[Shape], now: Sequence[Shape]) -> list[tuple[Shape, Shape]]:
    """The tensors of a batch that are different, each with what it was."""
    return [(old, new) for old, new in zip(before, now, strict=False) if old != new]
