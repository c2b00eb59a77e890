"""The search itself: trial after trial, until the largest batch that fits is proved."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from memtop.fit.trial import Plan, Trial, run
from memtop.model.search import Search, Tried

HOST_MARGIN = 0.1
"""Where the limit is the machine's own RAM: this share of a batch's peak stays free, and no larger one is run."""
_TIMED = 3
"""Steps that have to be timed before a smaller batch is called faster."""
_FASTER = 1.02
"""By how much, at least."""

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
    why: str | None = None
    """Why it ended before the answer was proved, in words."""

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
        """The trial with the most samples a second, of those that fit: the largest batch's own, unless each timed step
        of another was faster than each of its steps, and by more than chance has it."""
        best = self.best
        if best is None or best.most_per_second is None:
            return best
        fit = [one for one in self.trials if self.search.tried[one.batch_size].fits and one.timed >= _TIMED]
        faster = [one for one in fit if (one.least_per_second or 0.0) > _FASTER * best.most_per_second]
        return max(faster, key=lambda one: one.samples_per_second or 0.0, default=best)


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
    while len(finding.trials) < most_trials and finding.why is None and (batch := search.next()) is not None:
        if _is_too_near(finding, batch):
            finding.why = "a larger one might fill the machine's own RAM, which has no allocator to refuse"
            break
        trial = run(plan, batch, partial(tick, batch))
        if trial.outcome == "stopped":
            break
        _check(plan, finding, trial)
        finding.why = _disobeyed(finding, trial)
        _take(finding, trial)
        done(finding)
    return finding


def _take(finding: Finding, trial: Trial) -> None:
    search = finding.search
    if search.limit is None and trial.limit_bytes is not None:
        search.limit, finding.limit_is = trial.limit_bytes + (trial.pieces_bytes or 0), trial.limit_words
        if trial.device == "cpu":
            search.margin = max(search.margin, HOST_MARGIN)
    if search.in_a_pass is None:
        search.in_a_pass = trial.pass_samples
    if trial.reserved_bytes is not None:
        search.near = NEAR
    peak = trial.peak_bytes
    over = peak is not None and not search.fits(peak)
    finding.trials.append(trial)
    search.add(
        Tried(
            batch_size=trial.batch_size,
            fits=trial.outcome == "ran" and not over,
            peak_bytes=peak if trial.outcome == "ran" or (over and trial.outcome == "short") else None,
            lines=trial.lines,
            ran=trial.outcome != "short" or over,
        )
    )


def _is_too_near(finding: Finding, batch: int) -> bool:
    """Whether a trial would fill the machine's own RAM, which has no allocator to refuse: only a forecast answers."""
    low, limit = finding.best, finding.search.limit
    if low is None or limit is None or low.device != "cpu" or not finding.limit_is.startswith("what cpu"):
        return False
    peak = max((line.at(batch) for line in low.lines), default=None)
    return peak is None or not finding.search.fits(peak)


def _check(plan: Plan, finding: Finding, trial: Trial) -> None:
    """That a trial says something about memory. Raises `FitError`."""
    batch = trial.batch_size
    if trial.outcome == "failed":
        raise FitError(f"batch {batch} ended otherwise than for memory", _alone(plan, batch), trial.words)
    if trial.outcome == "hung":
        words = f"batch {batch} was ended: {plan.patience:g} s without a step, {trial.steps} done"
        raise FitError(words, "--patience gives it longer", trial.words)
    if trial.outcome == "short" and not finding.trials and trial.peak_bytes is None:
        words = f"batch {batch} ended by itself before its second step was over"
        raise FitError(words, "give it more data or a smaller --start", trial.words)
    if _changes_nothing(finding.trials, trial):
        what = (
            f"the peak is {trial.peak_bytes:,} B" if trial.seen_batch is None else f"the batch is {trial.seen_batch:,}"
        )
        raise FitError(f"{what} whatever is asked for ({finding.trials[0].batch_size:,}, {batch:,})", _named(plan))


def _alone(plan: Plan, batch: int) -> str:
    return f"run it by itself: {plan.words(batch)}"


def _named(plan: Plan) -> str:
    flag = "that sets it" if plan.flag is None else f"that sets it with --flag: {plan.flag} does not"
    return f"name the flag {flag}"


def _changes_nothing(before: list[Trial], trial: Trial) -> bool:
    """Whether the number asked for makes no difference. Where no batch is seen only the peak can tell: to the byte the
    same at four times the number."""
    if not before or trial.peak_bytes is None or any(one.seen_batch != trial.seen_batch for one in before):
        return False
    if trial.seen_batch is not None:
        return True
    return any(one.peak_bytes == trial.peak_bytes and 4 * one.batch_size <= trial.batch_size for one in before)


def _disobeyed(finding: Finding, trial: Trial) -> str | None:
    """That the training takes another batch than was asked for, in words: to search on would find nothing more."""
    asked, seen = trial.batch_size, trial.seen_batch
    if seen is None or trial.peak_bytes is None:
        return None
    same = next((one.batch_size for one in finding.trials if one.seen_batch == seen != one.batch_size), None)
    if 2 * seen <= asked and any(one.seen_batch == one.batch_size for one in finding.trials):
        return f"the training takes no more than {seen:,}, though {asked:,} was asked for"
    if same is None or seen == asked:
        return None
    return (
        f"{same:,} and {asked:,} are the same batch, {seen:,}: the training rounds it, and --multiple-of says to what"
    )
