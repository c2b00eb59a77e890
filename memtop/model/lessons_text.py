"""What a lesson says: two measured runs, or a claim beside its figures, as sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from memtop.model import units
from memtop.model.categories import TENSORS
from memtop.model.i18n import _
from memtop.model.lessons import Check, Run, State, changes
from memtop.model.records import Setting
from memtop.model.units import Unit

TELLING: Final[Mapping[str, str]] = {
    "inputs": "forward_end",
    "activations": "forward_end",
    "temporaries": "forward_end",
    "gradients": "backward_end",
}
"""The moment at which a category is told; of the others it is the end of the step."""


def words(category: str) -> str:
    """A category in the person's language."""
    return _(category.replace("_", " "))


def compared(before: Run, after: Run, unit: Unit = "auto") -> list[str]:
    """What a person changed and what it did to the bytes; empty where nothing is known of either."""
    did = [_change(name, *pair) for name, pair in changes(before, after).items()]
    told = [_("You changed nothing that counts.")] if not did else [_("You {did}.").format(did=_("; ").join(did))]
    moved, still = [], []
    for name in TENSORS:
        was, now = (run.read(name, TELLING.get(name, "step_end")) for run in (before, after))
        if was is None or now is None or was == now == 0:
            continue
        if was == now:
            still.append(words(name))
        else:
            moved.append(_moved(words(name), was, now, unit))
    if not moved and not still:
        return []
    if still:
        moved.append(_("{names} did not move").format(names=_(", ").join(still)))
    return [*told, *(_("{sentence}.").format(sentence=one[:1].upper() + one[1:]) for one in moved)]


def _change(name: str, was: Setting, now: Setting) -> str:
    if name == "batch_size" and isinstance(was, int) and isinstance(now, int):
        if now == 2 * was:
            return _("doubled the batch ({was} → {now})").format(was=was, now=now)
        if was == 2 * now:
            return _("halved the batch ({was} → {now})").format(was=was, now=now)
    title = name.replace("_", " ")
    return _("changed {setting} from {was} to {now}").format(setting=_(title), was=_value(was), now=_value(now))


def _value(value: Setting) -> str:
    if isinstance(value, bool):
        return _("on") if value else _("off")
    return _("nothing") if value in ("", None) else str(value)


def _moved(name: str, was: int, now: int, unit: Unit) -> str:
    text = _("{name} went from {was} to {now}").format(name=name, was=units.size(was, unit), now=units.size(now, unit))
    return f"{text} ({factor(now, was)})" if was > 0 and now > 0 else text


def factor(now: int, was: int) -> str:
    """`2.00 ×`, with three digits however small it is."""
    ratio = now / was
    return f"{ratio:.2f} ×" if ratio >= 0.095 else f"{ratio:.2g} ×"


def checked(check: Check, unit: Unit = "auto") -> str:
    """A claim's figures in one sentence; what is not measured yet says so."""
    claim, found, of = check.claim, check.found, check.of
    name, other = words(claim.category), words(claim.of)
    if found is None:
        return _("{name}: not measured yet").format(name=name)
    if not of:
        return _("{name}: {found}, and nothing to measure it by").format(name=name, found=units.size(found, unit))
    if claim.than is not None and found == of and check.state is State.EXPECTED:
        return _("{name} did not move: {found}").format(name=name, found=units.size(found, unit))
    if claim.than is None:
        text = _("{name} {found}, {other} {of}: {factor}")
    else:
        text = _("{name} from {of} to {found}: {factor}")
    said = text.format(
        name=name, other=other, found=units.size(found, unit), of=units.size(of, unit), factor=factor(found, of)
    )
    return said if check.state is State.EXPECTED else f"{said}; {expected(check, unit)}"


def expected(check: Check, unit: Unit = "auto") -> str:
    """What a claim that came out otherwise had asked for."""
    wanted = round(check.claim.factor * (check.of or 0))
    return _("{factor:g} × were expected, {bytes}").format(factor=check.claim.factor, bytes=units.size(wanted, unit))


def differing(check: Check, after: Run, defaults: Mapping[str, Setting], free: frozenset[str]) -> str | None:
    """Why a claim may not hold here: settings that are not those it is made for. `None`: all of them are.

    `free` are the settings that the step itself is about.
    """
    meant = {**defaults, **check.claim.settings}
    other = [
        _("{setting} is {now}, not {meant}").format(
            setting=_(name.replace("_", " ")), now=_value(after.settings[name]), meant=_value(value)
        )
        for name, value in meant.items()
        if name in after.settings and after.settings[name] != value and name not in free | _APART
    ]
    return _("the claim is made for other settings: {what}").format(what=_(", ").join(other)) if other else None


_APART: Final = frozenset({"steps", "seed", "data", "download", "device", "learning_rate"})
"""Settings that no claim is about."""
