"""The lesson of the scenario in sight: what its manifest says, and the runs it is held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from memtop.model.claims import Claim, Step
from memtop.model.lessons import Progress, Run, progress
from memtop.model.records import Setting
from memtop.model.snapshot import Snapshot


class Lesson(msgspec.Struct, frozen=True, kw_only=True):
    """What a manifest says."""

    title: str
    text: str
    steps: tuple[Step, ...] = ()
    claims: tuple[Claim, ...] = ()
    defaults: Mapping[str, Setting]


class Taught(msgspec.Struct, frozen=True, kw_only=True):
    """A lesson, and how far it has come."""

    lesson: Lesson | None
    """`None`: what runs is no scenario."""
    steps: tuple[Progress, ...] = ()
    before: Run | None = None
    """The run before the present one; `None` where it was another scenario's, or there was none."""
    after: Run | None = None

    @property
    def next(self) -> Progress | None:
        """The first step that is not done."""
        return next((one for one in self.steps if one.state.value in ("to do", "measuring")), None)


def taught(runs: Sequence[Run], snapshot: Snapshot, lesson: Lesson | None) -> Taught:
    """The lesson of what runs now, held against those of `runs` that are of its scenario."""
    own = [run for run in runs if run.scenario == snapshot.title]
    if lesson is None:
        return Taught(lesson=None)
    before, after = ([None, None, *own])[-2:]
    return Taught(lesson=lesson, steps=progress(lesson.steps, lesson.claims, own), before=before, after=after)
