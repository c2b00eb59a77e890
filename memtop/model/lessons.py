"""A lesson that follows what a person does: steps, and the claims they come to, held against measured runs.

Pure. A run is known by its settings and by the bytes of the first step that had optimizer state: the step at which a
manifest's claims hold (`claims.STEP`), so that the screen checks what the tests check.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Final

import msgspec

from memtop.model.claims import STEP, Claim, Step, names
from memtop.model.expressions import ExpressionError, Value, evaluate
from memtop.model.records import EndRecord, MemoryRecord, Record, RunRecord, Setting

MOST_RUNS: Final = 32
"""Runs that are remembered; the oldest are forgotten."""
_NEVER_MATTERS: Final = ("steps", "seed", "data", "download")
"""Settings that change no byte of a step."""


class Run(msgspec.Struct, kw_only=True):
    """One run, as far as a lesson needs it."""

    scenario: str | None
    settings: Mapping[str, Setting]
    bytes: dict[tuple[str, str], Mapping[str, int | None]] = msgspec.field(default_factory=dict)
    """Bytes by category, by device and moment, of the first step from `STEP` on in which the moment was seen."""
    device: str | None = None
    """Where its parameters are: the device that holds most of them."""
    deep: set[int] = msgspec.field(default_factory=set)
    """The steps that a deep look watched."""
    failed: bool = False
    """Whether it ended by itself, with an exit status other than 0."""

    def read(self, category: str, moment: str) -> int | None:
        """Bytes of a category; `None` where they were not seen."""
        return None if self.device is None else self.bytes.get((self.device, moment), {}).get(category)


class Book:
    """The runs so far, oldest first. Takes records as they come."""

    def __init__(self) -> None:
        self._runs: list[Run] = []

    @property
    def runs(self) -> tuple[Run, ...]:
        """Oldest first; the last one is the present one."""
        return tuple(self._runs)

    def take(self, record: Record) -> None:
        """A record of the log; those that no lesson needs cost a comparison."""
        if isinstance(record, MemoryRecord):
            if record.step >= STEP and record.rank == 0 and self._runs:
                _keep(self._runs[-1], record)
        elif isinstance(record, RunRecord):
            self._runs = [*self._runs[1 - MOST_RUNS :], Run(scenario=record.scenario, settings=dict(record.settings))]
        elif isinstance(record, EndRecord) and self._runs:
            self._runs[-1].failed = record.exit_code not in (0, None)


def _keep(run: Run, record: MemoryRecord) -> None:
    if record.tier == "deep":
        run.deep.add(record.step)
    run.bytes.setdefault((record.device, record.moment), record.bytes)
    held = record.bytes.get("parameters") or 0
    known = 0 if run.device is None else run.read("parameters", record.moment) or 0
    if run.device is None or (record.device != run.device and held > known):
        run.device = record.device


class State(str, Enum):
    """Where a step, or one of its checks, stands."""

    TO_DO = "to do"
    MEASURING = "measuring"
    """Done, but not all of its figures are there."""
    DONE = "done"
    """Done, and nothing to be checked."""
    EXPECTED = "as expected"
    OTHERWISE = "otherwise"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One claim beside what was measured."""

    claim: Claim
    found: int | None = None
    of: int | None = None
    """What `found` is measured by."""

    @property
    def state(self) -> State:
        """Nothing is checked against nothing: of no bytes, any factor is none."""
        if self.found is None or not self.of:
            return State.MEASURING
        return State.EXPECTED if self.claim.holds(self.found, self.of) else State.OTHERWISE


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """One step, and how far it has come."""

    step: Step
    state: State
    checks: tuple[Check, ...]
    before: Run | None = None
    after: Run | None = None


def progress(steps: Sequence[Step], claims: Sequence[Claim], runs: Sequence[Run]) -> tuple[Progress, ...]:
    """Each step with the newest runs that do what it asks for. `runs` are those of one scenario, oldest first."""
    return tuple(_progress(step, [claim for claim in claims if claim.step == step.name], runs) for step in steps)


def _progress(step: Step, claims: Sequence[Claim], runs: Sequence[Run]) -> Progress:
    best: Progress | None = None
    for before, after in _pairs(step, runs):
        checks = tuple(_check(claim, before, after) for claim in claims)
        state = _state(checks) if checks else State.DONE if after.bytes else State.MEASURING
        found = Progress(step=step, state=state, checks=checks, before=before, after=after)
        if found.state is not State.MEASURING:
            return found
        best = best or found
    return best or Progress(step=step, state=State.TO_DO, checks=tuple(Check(claim=claim) for claim in claims))


def _check(claim: Claim, before: Run | None, after: Run) -> Check:
    other = after if claim.than is None else before
    of = None if other is None else other.read(claim.of, claim.moment)
    return Check(claim=claim, found=after.read(claim.category, claim.moment), of=of)


def _state(checks: Iterable[Check]) -> State:
    """A failed check is told at once; all must be there for a step that is as expected."""
    states = [check.state for check in checks]
    return next((one for one in (State.OTHERWISE, State.MEASURING) if one in states), State.EXPECTED)


def _pairs(step: Step, runs: Sequence[Run]) -> Iterator[tuple[Run | None, Run]]:
    """The runs that do what the step asks for, newest first. Which of two came first does not matter."""
    newest = list(reversed(runs))
    for index, one in enumerate(newest):
        if not step.compares:
            if _holds(step, None, one):
                yield None, one
            continue
        for other in newest[index + 1 :]:
            for before, after in ((other, one), (one, other)):
                if not set(changes(before, after)) - step.names and _holds(step, before, after):
                    yield before, after


def _holds(step: Step, before: Run | None, after: Run) -> bool:
    try:
        return bool(evaluate(step.when, names_of(before, after)))
    except ExpressionError:
        return False


def names_of(before: Run | None, after: Run) -> dict[str, Value]:
    """What a condition may speak of."""
    was = None if before is None else before.settings
    return names(after.settings, was, looks=len(after.deep), failed=after.failed)


def changes(before: Run, after: Run) -> dict[str, tuple[Setting, Setting]]:
    """The settings in which two runs differ, but for those that change no byte."""
    names = [*before.settings, *(name for name in after.settings if name not in before.settings)]
    both = {name: (before.settings.get(name), after.settings.get(name)) for name in names}
    return {name: pair for name, pair in both.items() if pair[0] != pair[1] and name not in _NEVER_MATTERS}
