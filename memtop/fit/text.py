"""What `memtop fit` prints: a table that grows by a line a trial, and the answer; the same as JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from memtop.fit.finding import Finding
from memtop.fit.trial import Trial
from memtop.model import units
from memtop.model.forecast import highest
from memtop.model.text import harmless

_HEAD = ("batch", "peak", "of limit", "a step", "samples/s", "")
_WIDTHS = (9, 11, 9, 9, 10, 0)


def head() -> str:
    """The table's first line."""
    return _row(_HEAD)


def row(finding: Finding) -> str:
    """The line of the newest trial."""
    trial = finding.trials[-1]
    limit, fits = finding.search.limit, finding.search.tried[trial.batch_size].fits
    return _row(
        (
            f"{trial.batch_size:,}",
            units.size(trial.peak_bytes),
            _share(trial.peak_bytes, limit),
            units.duration(trial.seconds),
            units.rate(trial.samples_per_second),
            _word(trial, fits),
        )
    )


def _share(peak: int | None, limit: int | None) -> str:
    """Of the limit, fine enough to tell the largest that fits from the next; far above it the figure says nothing."""
    return "> 999 %" if peak is not None and limit and peak >= 10 * limit else units.percent(peak, limit, 2)


def _word(trial: Trial, fits: bool) -> str:
    """What came of it, and which batch it really took."""
    if trial.outcome == "short" and not trial.steps:
        return "ended by itself before its first step"
    if trial.outcome == "short":
        return f"its data end with step {trial.steps}" if trial.steps < 2 else "step 2 was a smaller last batch"
    words = "fits" if fits else "out of memory" if trial.outcome == "oom" else "too much"
    seen = trial.seen_batch
    return words if seen is None or seen == trial.batch_size else f"{words} (a step takes {seen:,})"


def answer(finding: Finding) -> list[str]:
    """The largest batch, what proves it, and which is the fastest."""
    search, best = finding.search, finding.best
    if best is None:
        return [_none(finding)]
    if search.unbounded and finding.over is None and finding.why is None:
        return [f"nothing of its memory grows with the batch: {units.size(best.peak_bytes)} at any"]
    took = best.seen_batch if best.seen_batch is not None and finding.why is not None else best.batch_size
    found = [f"largest batch that fits: {min(took, best.batch_size):,}", _rests(finding, best)]
    found += _unproved(finding)
    found += _beside(best)
    fastest = finding.fastest
    if fastest is not None and fastest is not best:
        rates = (units.rate(one.samples_per_second) for one in (fastest, best))
        words = "most samples a second: batch {:,}, {} against {}"
        found.append(words.format(fastest.batch_size, *rates))
    return found


def _none(finding: Finding) -> str:
    smallest = min(finding.trials, key=lambda one: one.batch_size)
    if smallest.outcome == "short":
        return f"no batch ran long enough to be looked at: {_word(smallest, False)}"
    limit = units.size(finding.search.limit)
    least = "" if smallest.peak_bytes is None else f": it takes {units.size(smallest.peak_bytes)}"
    word = "not even batch" if finding.search.proved else "nothing that was tried fits, down to batch"
    return f"{word} {smallest.batch_size:,} fits {limit} ({finding.limit_is}){least}"


def _unproved(finding: Finding) -> list[str]:
    """Why no larger one was tried, and how far the forecast goes."""
    search, best = finding.search, finding.best
    if finding.why is not None:
        return [finding.why]
    if not search.by_data or best is None:
        return []
    words = _ended(finding)
    forecast = search.forecast(best.batch_size)
    more = forecast is not None and forecast > best.batch_size
    return [*words, f"by the forecast ~ {forecast:,} would fit"] if more else words


def _ended(finding: Finding) -> list[str]:
    """Why the smallest that does not run ends by itself."""
    over, samples = finding.over, finding.search.in_a_pass
    assert over is not None
    if samples is not None and 2 * over.batch_size >= samples:
        return [
            f"the data end, not memory: a trial takes two whole batches, and a pass has at most {samples:,} samples"
        ]
    words = f"why {over.batch_size:,} ended by itself is not known: too few data, or an error that it caught"
    return [words, *(f"  {line}" for line in over.words[-1:])]


def _rests(finding: Finding, best: Trial) -> str:
    limit = finding.search.limit
    words = f"the peak of its tensors is {units.size(best.peak_bytes, 'B')}"
    if limit is not None:
        words += f" of {units.size(limit, 'B')} ({finding.limit_is})"
    over = finding.over
    if over is None:
        most = finding.search.most
        asked = most is not None and best.batch_size >= most
        return words + ("; no larger one was wanted" if asked else "; larger ones were not tried")
    if over.outcome == "short":
        return words
    if not finding.search.proved:
        took = "ran out of memory" if over.outcome == "oom" else "does not fit"
        return f"{words}; {over.batch_size:,} {took}, those between were not tried"
    took = "ran out of memory" if over.outcome == "oom" else f"takes {units.size(over.peak_bytes, 'B')}"
    return f"{words}; {over.batch_size:,} {took}"


def _beside(best: Trial) -> list[str]:
    name = (
        "the allocator's cache, rounding and the context"
        if best.reserved_bytes is not None
        else "Python, torch, libraries"
    )
    return (
        []
        if best.surround_bytes is None
        else [f"beside them the process holds {units.size(best.surround_bytes)}: {name}"]
    )


def as_json(finding: Finding) -> dict[str, Any]:
    """Sizes in bytes, times in seconds; unknown is `null`."""
    best, over, search = finding.best, finding.over, finding.search
    line = highest(best.lines, best.batch_size) if best else None
    fixed, each = line.tangent(best.batch_size) if best and line else (None, None)
    return {
        "batch_size": None if search.unbounded and over is None else best.batch_size if best else 0,
        "peak_bytes": best.peak_bytes if best else None,
        "limit_bytes": search.limit,
        "limit": finding.limit_is,
        "margin": search.margin,
        "proved": search.proved,
        "why_not": None if search.proved else "; ".join(line.strip() for line in _unproved(finding)) or None,
        "next": None if over is None else {"batch_size": over.batch_size, "peak_bytes": over.peak_bytes},
        "fixed_bytes": fixed,
        "bytes_per_sample": each,
        "surround_bytes": best.surround_bytes if best else None,
        "fastest": None if finding.fastest is None else finding.fastest.batch_size,
        "trials": [_trial(finding, trial) for trial in finding.trials],
    }


def _trial(finding: Finding, trial: Trial) -> dict[str, Any]:
    return {
        **msgspec.to_builtins(trial),
        "fits": finding.search.tried[trial.batch_size].fits,
        "words": [harmless(w, 400) for w in trial.words],
    }


def _row(cells: tuple[str, ...]) -> str:
    return "  ".join(cell.rjust(width) for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()
