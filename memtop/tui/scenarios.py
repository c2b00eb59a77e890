"""The scenarios on offer, as the picker and the settings need them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from memtop.model.records import Setting

if TYPE_CHECKING:
    from memtop.tui.lessons import Lesson


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A training that can be chosen."""

    name: str
    title: str
    lesson: str


class Offered(msgspec.Struct, frozen=True, kw_only=True):
    """A setting that can be changed."""

    name: str
    title: str
    kind: str
    """`int`, `float`, `str` or `bool`."""
    choices: tuple[Setting, ...]
    """Empty: any value of the kind."""


class Scenarios(Protocol):
    """Where offers come from."""

    def offers(self) -> Sequence[Offer]:
        """All scenarios in teaching order."""

    def settings(self, scenario: str) -> Sequence[Offered]:
        """The settings of one."""

    def lesson(self, scenario: str) -> Lesson | None:
        """What one teaches; `None` where `scenario` is no scenario's name."""

    def refused(self, scenario: str, name: str, value: str) -> str | None:
        """Why a value is not offered, in one line; `None` where it is."""

    def value(self, scenario: str, name: str, value: str) -> Setting:
        """The text as the setting's own type; only where it is not refused."""


class Manifests:
    """The built-in scenarios. Their manifests are read when first asked for."""

    def offers(self) -> Sequence[Offer]:
        """All scenarios in teaching order."""
        from memtop.launcher import manifests

        found = [manifests.load(name) for name in manifests.names()]
        return [Offer(name=each.name, title=each.title, lesson=each.lesson) for each in found]

    def settings(self, scenario: str) -> Sequence[Offered]:
        """The settings of one; none where `scenario` is no scenario's name."""
        from memtop.launcher import manifests

        if scenario not in manifests.names():
            return []
        specs = manifests.load(scenario).settings
        return [Offered(name=spec.name, title=spec.title, kind=spec.kind, choices=_choices(spec)) for spec in specs]

    def lesson(self, scenario: str) -> Lesson | None:
        """What one teaches; `None` where `scenario` is no scenario's name."""
        from memtop.launcher import manifests

        if scenario not in manifests.names():
            return None
        from memtop.tui.lessons import Lesson

        found = manifests.load(scenario)
        defaults = {spec.name: spec.default for spec in found.settings}
        return Lesson(title=found.title, text=found.lesson, steps=found.steps, claims=found.claims, defaults=defaults)

    def refused(self, scenario: str, name: str, value: str) -> str | None:
        """Why a value is not offered, in one line; `None` where it is."""
        from memtop.launcher import manifests

        try:
            manifests.resolve(manifests.load(scenario), {name: value})
        except manifests.ManifestError as error:
            return f"{error.message}: {error.remedy}" if error.remedy else error.message
        return None

    def value(self, scenario: str, name: str, value: str) -> Setting:
        """The text as the setting's own type; only where it is not refused."""
        from memtop.launcher import manifests

        return manifests.resolve(manifests.load(scenario), {name: value})[name]


def _choices(spec: object) -> tuple[Setting, ...]:
    if getattr(spec, "kind", "") == "bool":
        return (False, True)
    choices: tuple[Setting, ...] = getattr(spec, "choices", ())
    return choices
