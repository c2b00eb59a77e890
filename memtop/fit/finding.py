"""The search itself: trial after trial, until the largest batch that fits is proved."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from memtop.fit.trial import Plan, Trial, run
from memtop.model.search import Search, Tried

HOST_MARGIN = 0.1
"""Where the limit is the machine's own RAM: this share of a batch's peak stays free, and no larger one is run."""

NEAR = 0.02
"""On CUDA a batch does not fit where its reserve does not, in pieces, and no peak says so: the search may end where the
next that was tried is larger by so much."""


class FitError(Exception):
    """No answer can be found: one line, and what to do."""

    def __init__(self, message: str, remedy: str, output: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message, self.remedy, self.output = message, remedy, output


class Finding(msgspec.Struct):
    """What was tried, and the answer so far."""

    search: Search
    limit_is: str
    """What sets the limit, in words."""
    trials: list[Trial] = msgspec.field(default_factory=list)

    @property
    def best(self) -> Trial | None:
        """The trial of the largest batch that fits."""
        found = self.search.largest
        return None if found is None else next(one for one in self.trials if one.batch_size == found.batch_size)

    @property
    def over(self) -> Trial | None:
        """The trial of the smallest batch that does not."""
        found = self.search.smallest_over
        return None if found is None else next(one for one in self.trials if one.batch_size == found.batch_size)

    @property
    def fastest(self) -> Trial | None:
        """The trial with the most samples a second, of those that fit."""
        fit = [one for one in self.trials if self.search.tried[one.batch_size].fits and one.samples_per_second]
        return max(fit, key=lambda one: one.samples_per_second or 0.0, default=None)


def find(
    plan: Plan,
    search: Search,
    limit_is: str,
    *,
    tick: Callable[[int, int], bool],
    done: Callable[[Finding], None],
    most_trials: int = 20,
) -> Finding:
    """Try until it is over. `tick(batch, steps done)` says whether to go on; `done` is told after each trial.

    Raises `FitError` where a trial fails for another reason than memory, `LaunchError` where none can start.
    """
    finding = Finding(search, limit_is)
    while len(finding.trials) < most_trials and (batch := search.next()) is not None:
        if _is_too_near(finding, batch):
            break
        trial = run(plan, batch, partial(tick, batch))
        if trial.outcome == "stopped":
            break
        _check(finding, trial)
        _take(finding, trial)
        done(finding)
    return finding


def _take(finding: Finding, trial: Trial) -> None:
    search = finding.search
    if search.limit is None and trial.limit_bytes is not None:
        search.limit, finding.limit_is = trial.limit_bytes, f"what {trial.device} has for tensors now"
        if trial.device == "cpu":
            search.margin = max(search.margin, HOST_MARGIN)
    ran = trial.outcome == "ran" and trial.peak_bytes is not None
    fits = ran and search.fits(trial.peak_bytes or 0)
    if trial.reserved_bytes is not None:
        search.near = NEAR
    finding.trials.append(trial)
    peak = trial.peak_bytes if trial.outcome == "ran" else None
    search.add(Tried(batch_size=trial.batch_size, fits=fits, peak_bytes=peak, lines=trial.lines))


def _is_too_near(finding: Finding, batch: int) -> bool:
    """Whether a trial would fill the machine's own RAM, which has no allocator to refuse: only a forecast answers."""
    low, limit = finding.best, finding.search.limit
    if low is None or limit is None or low.device != "cpu" or not finding.limit_is.startswith("what cpu"):
        return False
    peak = max((line.at(batch) for line in low.lines), default=None)
    return peak is None or not finding.search.fits(peak)


def _check(finding: Finding, trial: Trial) -> None:
    if trial.outcome == "failed":
        raise FitError(
            f"batch {trial.batch_size} ended otherwise than for memory", "run it by itself first", trial.words
        )
    before = finding.trials[-1] if finding.trials else None
    if before is None or trial.seen_batch is None or trial.seen_batch == trial.batch_size:
        return
    if trial.seen_batch == before.seen_batch and before.batch_size != trial.batch_size:
        raise FitError(
            f"the batch is {trial.seen_batch} whatever is asked for ({before.batch_size}, {trial.batch_size})",
            "name the flag that sets it with --flag",
        )
