"""Why a measured figure is not what the closed form says, in words, where we know it. Nothing here is a guess.

A reason is given only where the figures bear it out; `None` is: not known.
"""

from __future__ import annotations

from typing import Final

import msgspec

from memtop.model import units
from memtop.model.i18n import N_, _
from memtop.model.units import Unit

LOSS_BYTES: Final = 4
"""A live float32 loss."""
_STEP_BYTES: Final = 4
"""Adam's `step`: one float32 scalar a parameter tensor."""

_LOSS: Final = N_("the loss is still there")
EARLY: Final = N_("the peak comes before they are whole")
NONE_YET: Final = N_("the peak comes before backward makes them")
SCRATCH: Final = {
    "optimizer": N_("what the optimizer's step needs for a moment"),
    "backward": N_("gradients of activations"),
    "recompute": N_("gradients of activations"),
    "forward": N_("results on their way, which nobody keeps"),
}
"""What temporaries are at a peak, by its phase."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One category's measured figure at one moment, and what is known around it. Bytes."""

    category: str
    moment: str
    """`forward_end`, `backward_end`, `step_end` or `peak`."""
    value: int
    theory: int | None = None
    """The closed form; `None` where there is none."""
    phase: str | None = None
    """Of a peak: the phase it lies in."""
    kept: int | None = None
    """Of activations at a peak: what was alive when forward ended."""
    recomputed: int = 0
    """Activations that backward made again for checkpoints, in the whole step."""
    tensors: int | None = None
    """Number of parameter tensors, at most; `None` where not known."""


def reason(case: Case, unit: Unit = "auto") -> str | None:
    """Why the figure is what it is: `=` where it is the closed form's, a few words, or `None` where not known."""
    if case.theory is not None and case.value == case.theory:
        return "="
    rules = {
        "gradients": _gradients,
        "optimizer_state": _state,
        "temporaries": _temporaries,
        "activations": _activations,
        "rounding": _rounding,
    }
    rule = rules.get(case.category)
    return None if rule is None else rule(case, unit)


def _gradients(case: Case, unit: Unit) -> str | None:
    if case.moment != "peak" or case.theory is None or case.value > case.theory:
        return None
    if case.phase == "forward" and case.value == 0:
        return _(NONE_YET)
    return _(EARLY) if case.phase in ("backward", "recompute") else None


def _state(case: Case, unit: Unit) -> str | None:
    """The step counters where the closed form leaves them out; nothing at all before the first step has ended."""
    if case.theory is None:
        return None
    if case.value == 0 < case.theory:
        return _("made by the first step()")
    count, rest = divmod(case.value - case.theory, _STEP_BYTES)
    if rest or count <= 0 or case.tensors is None or count > case.tensors:
        return None
    return _("a {bytes}-byte step for each of {count:,} tensors").format(bytes=_STEP_BYTES, count=count)


def _temporaries(case: Case, unit: Unit) -> str | None:
    told = SCRATCH.get(case.phase or "") if case.moment == "peak" and case.value > 0 else None
    return None if told is None else _(told)


def _activations(case: Case, unit: Unit) -> str | None:
    if case.moment == "peak":
        return _activations_at_peak(case, unit)
    if case.moment == "forward_end" and case.theory is not None and case.value - case.theory == LOSS_BYTES:
        return _(_LOSS)
    return _(_LOSS) if case.moment != "forward_end" and case.value == LOSS_BYTES else None


def _activations_at_peak(case: Case, unit: Unit) -> str | None:
    if case.phase == "optimizer":
        return _("backward has used them up; {loss}").format(loss=_(_LOSS)) if case.value == LOSS_BYTES else None
    if case.phase in ("backward", "recompute") and case.recomputed:
        return _("recomputed in backward: {size}").format(size=units.size(case.recomputed, unit))
    whole = case.kept if case.kept is not None else case.theory
    if whole is None or case.value >= whole:
        return None
    missing = units.size(whole - case.value, unit)
    if case.phase in ("backward", "recompute"):
        return _("backward has used up {missing}").format(missing=missing)
    return _("forward has {missing} to go").format(missing=missing) if case.phase == "forward" else None


def _rounding(case: Case, unit: Unit) -> str | None:
    return _("the allocator rounds blocks up to 512 B") if case.value > 0 else None
