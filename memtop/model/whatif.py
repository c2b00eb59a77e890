"""What if: the peak and the largest batch under another optimizer, precision, or way to keep activations.

Every line is an estimate and says what it rests on. The course of one deep look is changed instant by instant, so that
a peak that moves into another phase is found there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from memtop.model import whatif_layers as layers
from memtop.model.i18n import N_, _
from memtop.model.whatif_facts import GROWING, PASSING, Facts, Point

Change = Callable[[Point], dict[str, float]]
"""What a point's bytes by category would be."""

STATES: Final = {
    "SGD": 0.0,
    N_("SGD with momentum"): 1.0,
    "Adam": 2.0,
    "AdamW": 2.0,
    N_("8-bit Adam"): (2 + 2 * 4 / 256) / 4,
}
"""Bytes of state for each byte of float32 parameters. In 8 bits: two bytes an element, and two float32 scales for each
block of 256 (bitsandbytes; tensors of fewer than 4,096 elements keep 32 bits there)."""
_LISTS: Final = ("Adam", "AdamW")
"""Optimizers that make something on the way: a copy of all that is trained on the `foreach` road, which CUDA has, or
two of one tensor after another; as measured where one of them is in use."""
PARTS: Final = {2: N_("2 accumulated parts"), 4: N_("4 accumulated parts")}
"""Lines of accumulation, by the parts that a batch is run in."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One change, and what it would come to. Bytes of tensors; estimates."""

    name: str
    """`AdamW`, `bf16 autocast`, `checkpointing`, ..."""
    now: bool
    """Whether it is how things are: the figures are measured then."""
    peak: int
    """The highest point of the step at the batch that was watched."""
    saves: int
    """Below the peak that was measured; negative: so much above it."""
    phase: str
    """Where the peak would be."""
    max_batch: int | None
    """The largest batch within the limit; 0 where not even one sample fits; `None` where no limit is known or nothing
    grows."""
    rests_on: str


def whatif(facts: Facts) -> tuple[Line, ...]:
    """All changes that can be told from these facts, how things are first."""
    lines = [_line(facts, N_("as it is"), _unchanged, _("measured"), now=True)]
    lines += [_optimizer(facts, name) for name in STATES if not _is(facts, name)]
    lines += [_autocast(facts), _pure(facts)]
    lines += [line for line in (_checkpoint(facts), _inplace(facts), _half_side(facts)) if line is not None]
    lines += [_accumulate(facts, parts) for parts in PARTS if parts <= facts.batch]
    return tuple(lines)


def _line(facts: Facts, name: str, change: Change, rests_on: str, *, now: bool = False, parts: int = 1) -> Line:
    changed = [
        Point(point.phase, {key: round(value) for key, value in change(point).items()}) for point in facts.points
    ]
    top = max(changed, key=_total)
    before = max(_total(point) for point in facts.points)
    peak = _total(top)
    return Line(
        name=name,
        now=now,
        peak=peak,
        saves=before - peak,
        phase=top.phase,
        max_batch=_max_batch(facts, changed, parts),
        rests_on=rests_on,
    )


def _total(point: Point) -> int:
    return sum(point.bytes.values())


def _max_batch(facts: Facts, points: list[Point], parts: int) -> int | None:
    """The largest batch with every point below the limit. `parts`: of each batch so many are run one after another."""
    if facts.limit is None:
        return None
    best: int | None = None
    for point in points:
        grows: float = sum(point.bytes[name] for name in GROWING)
        grows += point.bytes["temporaries"] * facts.shares.get(point.phase, 0.0)
        room = facts.limit - (_total(point) - grows)
        if room < 0:
            return 0
        if grows > 0:
            fits = int(room * facts.batch / grows)
            best = fits if best is None else min(best, fits)
    return None if best is None else best // parts * parts


def _unchanged(point: Point) -> dict[str, float]:
    return dict(point.bytes)


# -- optimizers --------------------------------------------------------------------------------------------------------


def _is(facts: Facts, name: str) -> bool:
    """Whether the training has this optimizer."""
    if facts.optimizer == "SGD":
        return name == ("SGD with momentum" if facts.highest("optimizer_state") else "SGD")
    return name == facts.optimizer


def _optimizer(facts: Facts, name: str) -> Line:
    state = STATES[name] * facts.trainable
    largest = max((layer.parameters for layer in facts.layers), default=0)
    temporaries = 0
    if name in _LISTS and facts.optimizer in _LISTS:
        temporaries = facts.highest("temporaries", ["optimizer"])
    elif name in _LISTS:
        temporaries = facts.trainable if facts.foreach else 2 * largest

    def change(point: Point) -> dict[str, float]:
        changed: dict[str, float] = point.bytes | {"optimizer_state": state}
        if point.phase == "optimizer":
            changed["temporaries"] = temporaries
        return changed

    words = _("{factor:.3g} × {trainable:,} B of state, {temporaries:,} B in its step")
    rests = words.format(factor=STATES[name], trainable=facts.trainable, temporaries=temporaries)
    return _line(facts, name, change, rests)


# -- precision ---------------------------------------------------------------------------------------------------------


def _autocast(facts: Facts) -> Line:
    """Outputs of products and what follows from them in two bytes; copies of the weights and of the batch beside."""
    share = layers.half_precision(facts.layers)
    copies = layers.cast_weights(facts.layers) // 2
    batch = facts.highest("inputs") * facts.float_inputs / 2
    full, gradients = facts.forward_end().bytes["activations"] or 1, facts.highest("gradients") or 1
    loss = layers.of_the_loss(facts.layers)

    def change(point: Point) -> dict[str, float]:
        changed: dict[str, float] = dict(point.bytes)
        if point.phase in PASSING:
            part = point.bytes["activations"] / full
            # The copy of a weight goes when its gradient comes.
            weights = part if point.phase != "backward" else 1 - point.bytes["gradients"] / gradients
            changed["activations"] = share * point.bytes["activations"] + part * batch
            changed["parameters"] += weights * copies
            # The gradient of the loss's input is there in four bytes, and then in two besides.
            whole = 1.5 * min(point.bytes["temporaries"], loss)
            changed["temporaries"] = max(share * point.bytes["temporaries"], whole)
        return changed

    rests = _("activations by layer in two bytes, {copies:,} B of cast weights kept").format(copies=copies)
    return _line(facts, N_("bf16 autocast"), change, rests)


def _pure(facts: Facts) -> Line:
    share = layers.half_precision(facts.layers, norms=True)
    inputs = 1 - facts.float_inputs / 2

    def change(point: Point) -> dict[str, float]:
        changed: dict[str, float] = {name: size / 2 for name, size in point.bytes.items()}
        changed["inputs"] = point.bytes["inputs"] * inputs
        changed["activations"] = point.bytes["activations"] * share
        if point.phase in PASSING:
            changed["temporaries"] = point.bytes["temporaries"] * share
        return changed

    rests = _("weights, gradients, state and activations in two bytes; integers as they are")
    return _line(facts, N_("pure bf16"), change, rests)


# -- activations -------------------------------------------------------------------------------------------------------


def _checkpoint(facts: Facts) -> Line | None:
    """√n segments of the model's longest row of layers, each made again in backward but for the last."""
    found = layers.segments(facts.layers)
    if found is None:
        return None

    passing = _passing(facts, found)
    reached = found.count - 1

    def change(point: Point) -> dict[str, float]:
        nonlocal reached
        backward = point.phase in ("backward", "recompute")
        kept = point.bytes["activations"]
        changed: dict[str, float] = point.bytes | {"activations": found.kept(kept, backward)}
        if backward and (index := found.segment(kept)) < reached:
            reached = index
            changed["temporaries"] += passing[index]
        return changed

    rests = _("{count} segments of {layers} layers of {parent}, {kept:,} B kept between them").format(
        count=found.count, layers=found.layers, parent=found.parent or _("the model"), kept=sum(found.boundaries)
    )
    return _line(facts, N_("checkpointing"), change, rests)


def _passing(facts: Facts, found: layers.Segments) -> list[int]:
    """The highest temporaries of each segment's forward: they come again when it is made again."""
    passing = [0] * found.count
    for point in facts.points:
        if point.phase == "forward":
            index = found.segment(point.bytes["activations"])
            passing[index] = max(passing[index], point.bytes["temporaries"])
    return passing


def _inplace(facts: Facts) -> Line | None:
    """What an activation function writes over need not stand beside its result. What backward needs stays."""
    largest = layers.overwritable(facts.layers)
    if not largest:
        return None

    def change(point: Point) -> dict[str, float]:
        changed: dict[str, float] = dict(point.bytes)
        if point.phase == "forward":
            changed["temporaries"] = point.bytes["temporaries"] - min(point.bytes["temporaries"], largest)
        return changed

    rests = _("at most {largest:,} B less at once in forward, none in backward").format(largest=largest)
    return _line(facts, N_("in-place activations"), change, rests)


def _half_side(facts: Facts) -> Line | None:
    """A quarter of every pixel."""
    share = layers.quarter_of_images(facts.layers)
    if share is None:
        return None

    def change(point: Point) -> dict[str, float]:
        changed: dict[str, float] = point.bytes | {
            "inputs": point.bytes["inputs"] * (1 - 0.75 * facts.float_inputs),
            "activations": point.bytes["activations"] * share,
        }
        if point.phase in PASSING:
            changed["temporaries"] = point.bytes["temporaries"] * share
        return changed

    rests = _("a quarter of each image's bytes; the weights as they are")
    return _line(facts, N_("inputs at half the side"), change, rests)


def _accumulate(facts: Facts, parts: int) -> Line:
    """The same batch in parts, gradients added up: those are there from the first part's backward on, and a new one
    stands beside the sum until it has been added."""
    gradients = facts.highest("gradients")

    def change(point: Point) -> dict[str, float]:
        changed: dict[str, float] = point.bytes | {name: point.bytes[name] / parts for name in GROWING}
        share = facts.shares.get(point.phase, 0.0)
        changed["temporaries"] = point.bytes["temporaries"] * (1 - share + share / parts)
        if point.phase in ("forward", "backward", "recompute"):
            changed["gradients"] = gradients + point.grown
        return changed

    rests = _("{parts} passes of {batch}, same gradients").format(parts=parts, batch=facts.batch // parts)
    return _line(facts, PARTS[parts], change, rests, parts=parts)
