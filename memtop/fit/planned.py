"""A plan for a CUDA device that is not here: two small runs, played through a model of its allocator."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial

import msgspec
from msgspec.structs import replace

from memtop.fit.estimate import check
from memtop.fit.finding import FitError
from memtop.fit.trial import Plan, watched
from memtop.launcher.events_folder import EventsFolder
from memtop.model import plan as planning
from memtop.model.extrapolate import Unlike, at_batch
from memtop.model.plan_search import MOST, Found, Seen, search
from memtop.model.step_events import EventsError, StepEvents

START = 8
"""The first batch, unless told otherwise; the second is half as large again."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One batch size on the device. Bytes; estimates."""

    batch: int
    fits: str
    requested: int
    allocated: int
    reserved: int
    low: int
    used: int
    high: int


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """What was run, and what it would take."""

    device: str
    """Where it ran."""
    limit: int
    """Bytes of the device that is planned for."""
    margin: float
    conf: str
    """The allocator's settings, as `PYTORCH_ALLOC_CONF` has them."""
    context: planning.Context
    batches: tuple[int, int]
    """What was run."""
    found: Found
    rows: tuple[Row, ...]
    """The largest batch that surely fits, the largest that perhaps does, and the next above that was planned."""
    rests_on: tuple[str, ...]


def planned(
    plan: Plan,
    limit: int,
    *,
    start: int = START,
    conf: str = "",
    margin: float = 0.0,
    multiple_of: int = 1,
    most: int | None = None,
    tick: Callable[[int, int], bool],
) -> Planned:
    """Run two small batches and search the largest that `limit` bytes hold.

    Raises `FitError` where a run fails or the two did not do the same, `LaunchError` where none can start, and
    `ConfigError` for settings that torch's allocator would refuse.
    """
    batches = (start, start + max(2, start // 2))
    (first, optimizers), (second, _) = (_step(plan, batch, tick) for batch in batches)
    context = planning.Context()
    room = int(limit / (1 + Fraction(margin).limit_denominator(10**9)))

    def play(events: StepEvents, within: int | None = room) -> planning.Plan:
        return planning.plan(events, limit=within, conf=conf, context=context, optimizers=optimizers)

    try:
        found = search(first, second, play, room, multiple=multiple_of, most=most or MOST)
    except Unlike as error:
        raise FitError(
            f"the steps at batch {batches[0]} and {batches[1]} differ: {error}", "try another --start"
        ) from error
    rows = tuple(_row(batch, found.plans[batch], play(at_batch(first, second, batch), None)) for batch in _shown(found))
    return Planned(
        device=first[1].device,
        limit=limit,
        margin=margin,
        conf=conf,
        context=context,
        batches=batches,
        found=found,
        rows=rows,
        rests_on=next(iter(found.plans.values())).rests_on,
    )


def _shown(found: Found) -> list[int]:
    over = [batch for batch in sorted(found.plans) if batch > found.perhaps][:1]
    return sorted({*(batch for batch in (found.sure, found.perhaps) if batch), *over})


def _row(batch: int, plan: planning.Plan, unlimited: planning.Plan) -> Row:
    """What did not fit is told from a device without a limit: figures of how far it came would mislead."""
    middle = unlimited if plan.fits == "no" else plan
    return Row(
        batch=batch,
        fits=plan.fits or "no",
        requested=middle.requested,
        allocated=middle.allocated,
        reserved=middle.reserved,
        low=middle.low,
        used=middle.used,
        high=plan.high if plan.fits == "yes" else unlimited.high,
    )


def _step(plan: Plan, batch: int, tick: Callable[[int, int], bool]) -> tuple[Seen, list[str] | None]:
    """The newest step that was looked at, of the process that held most, and the optimizers' names."""
    with EventsFolder() as folder:
        options = replace(plan.options, environment={**plan.options.environment, **folder.environment})
        trial, snapshot = watched(replace(plan, options=options), batch, partial(tick, batch))
        check(trial)
        try:
            events = folder.read()
        except EventsError as error:
            raise FitError(f"batch {batch}: {error}", "run memtop doctor") from error
    if not events:
        raise FitError(f"batch {batch} ended without a look at a whole step", "more --steps", trial.words)
    asked = trial.seen_batch
    if asked is not None and asked % batch:
        raise FitError(f"the batch is {asked} though {batch} was asked for", "name the flag that sets it with --flag")
    last = max(one.step for one in events)
    most = max((one for one in events if one.step == last), key=lambda one: one.peak)
    return (batch, most), None if snapshot.model is None else list(snapshot.model.optimizers)
