"""What `memtop fit` prints: a table that grows by a line a trial, and the answer; the same as JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from memtop.fit.finding import Finding
from memtop.fit.trial import Trial
from memtop.model import units
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
    word = "fits" if fits else "out of memory" if trial.outcome == "oom" else "too much"
    return _row(
        (
            f"{trial.batch_size:,}",
            units.size(trial.peak_bytes),
            units.percent(trial.peak_bytes, limit),
            units.duration(trial.seconds),
            units.rate(trial.samples_per_second),
            word,
        )
    )


def answer(finding: Finding) -> list[str]:
    """The largest batch, what proves it, and which is the fastest."""
    search, best = finding.search, finding.best
    limit = units.size(search.limit)
    if best is None:
        return [f"not even batch {min(search.tried)} fits {limit} ({finding.limit_is})"]
    if search.unbounded and finding.over is None:
        return [f"nothing of its memory grows with the batch: {units.size(best.peak_bytes)} at any"]
    found = [f"largest batch that fits: {best.batch_size:,}", _rests(finding, best)]
    found += _beside(best)
    fastest = finding.fastest
    if fastest is not None and fastest is not best:
        found.append(f"most samples a second: batch {fastest.batch_size:,}, {units.rate(fastest.samples_per_second)}")
    return found


def _rests(finding: Finding, best: Trial) -> str:
    limit = finding.search.limit
    words = f"the peak of its tensors is {units.size(best.peak_bytes, 'B')}"
    if limit is not None:
        words += f" of {units.size(limit, 'B')} ({finding.limit_is})"
    over = finding.over
    if finding.search.proved and over is not None:
        took = "ran out of memory" if over.outcome == "oom" else f"takes {units.size(over.peak_bytes, 'B')}"
        return f"{words}; {over.batch_size:,} {took}"
    if over is None:
        return f"{words}; larger ones were not tried"
    took = "ran out of memory" if over.outcome == "oom" else "does not fit"
    return f"{words}; {over.batch_size:,} {took}, what lies between was not tried"


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
    line = max(best.lines, key=lambda one: one.at(best.batch_size), default=None) if best else None
    return {
        "batch_size": None if search.unbounded and over is None else best.batch_size if best else 0,
        "peak_bytes": best.peak_bytes if best else None,
        "limit_bytes": search.limit,
        "limit": finding.limit_is,
        "margin": search.margin,
        "proved": search.proved,
        "next": None if over is None else {"batch_size": over.batch_size, "peak_bytes": over.peak_bytes},
        "fixed_bytes": line.fixed_bytes if line else None,
        "bytes_per_sample": line.bytes_per_sample if line else None,
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
