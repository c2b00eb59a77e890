"""What if: one run of a few steps, and what its deep look says about other settings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from memtop.fit.finding import HOST_MARGIN, FitError
from memtop.fit.trial import Plan, Trial, watched
from memtop.model.snapshot import Snapshot
from memtop.model.whatif_look import Told, missing, told


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What was run, and what it says."""

    trial: Trial
    told: Told
    limit_is: str
    """What sets the limit, in words."""


def estimate(
    plan: Plan, batch: int | None, limit: int | None, margin: float, *, tick: Callable[[int, int], bool]
) -> Estimate:
    """Run it at `batch` (`None`: its own) and work out the lines. `limit` bytes (`None`: what this device has).

    Raises `FitError` where the run fails or says too little, `LaunchError` where it can't start.
    """
    trial, snapshot = watched(plan, batch, partial(tick, batch or 0))
    check(trial)
    why = missing(snapshot)
    if why is not None:
        raise FitError(f"the run says too little: {why}", "more --steps, or another batch", trial.words)
    limit_is = "as asked" if limit is not None else trial.limit_words
    found = told(snapshot, limit, _margin(snapshot, limit, margin))
    assert found is not None
    return Estimate(trial=trial, told=found, limit_is=limit_is if found.limit is not None else "not known")


def _margin(snapshot: Snapshot, limit: int | None, margin: float) -> float:
    """The machine's own RAM is nothing to fill to its last byte."""
    return max(margin, HOST_MARGIN) if limit is None and snapshot.device == "cpu" else margin


def check(trial: Trial) -> None:
    """That a run came to its end. Raises `FitError`; Ctrl-C is what ends one otherwise."""
    if trial.outcome == "oom":
        raise FitError(f"batch {trial.batch_size} ran out of memory", "give a smaller --start", trial.words)
    if trial.outcome == "short":
        raise FitError(
            "the run ended before a whole step of full batches", "more data, or a smaller batch", trial.words
        )
    if trial.outcome == "hung":
        raise FitError(
            f"the run made no step for too long, after {trial.steps}", "--patience gives it longer", trial.words
        )
    if trial.outcome != "ran":
        raise FitError("the run did not come to its end", "run it by itself first", trial.words)
