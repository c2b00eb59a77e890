"""What `memtop fit --what-if` prints, and the same as JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from memtop.fit.estimate import Estimate
from memtop.model import units
from memtop.model.text import harmless
from memtop.model.whatif import Line

_HEAD = ("", "peak", "saves", "", "largest batch", "rests on")
_WIDTHS = (-25, 11, 11, 8, 13, 0)


def table(found: Estimate) -> list[str]:
    """A line a change; all but the first are estimates and say so."""
    told = found.told
    batch = f"batch {told.batch:,}" + (f", {told.batches} of them a step" if told.batches > 1 else "")
    rows = [f"{batch} on {told.device}, from one deep look at step {told.step}; ~ is an estimate", "", _row(_HEAD)]
    rows += [_line(line, told.lines[0]) for line in told.lines]
    if told.limit is not None:
        margin = f", {100 * told.margin:.1f} % of a peak left free"
        rows += ["", f"largest batches: within {units.size(told.limit, 'B')} ({found.limit_is}{margin})"]
    return rows


def _line(line: Line, now: Line) -> str:
    mark = "" if line.now else "~ "
    saves = ("", "") if line.now else (f"{mark}{units.size(line.saves)}", units.percent(line.saves, now.peak))
    batch = units.UNKNOWN if line.max_batch is None else f"~ {line.max_batch:,}"
    return _row((f"{mark}{line.name}", f"{mark}{units.size(line.peak)}", *saves, batch, line.rests_on))


def _row(cells: tuple[str, ...]) -> str:
    shown = [
        cell.rjust(width) if width >= 0 else cell.ljust(-width) for cell, width in zip(cells, _WIDTHS, strict=True)
    ]
    return "  ".join(shown).rstrip()


def as_json(found: Estimate) -> dict[str, Any]:
    """Sizes in bytes; unknown is `null`. `estimate` says which lines were not measured."""
    told, trial = found.told, found.trial
    return {
        "batch_size": told.batch,
        "batches": told.batches,
        "device": told.device,
        "step": told.step,
        "limit_bytes": told.limit,
        "limit": found.limit_is,
        "margin": told.margin,
        "lines": [_as_json(line, told.lines[0]) for line in told.lines],
        "trial": {**msgspec.to_builtins(trial), "words": [harmless(word, 400) for word in trial.words]},
    }


def _as_json(line: Line, now: Line) -> dict[str, Any]:
    return {
        "name": line.name,
        "estimate": not line.now,
        "peak_bytes": line.peak,
        "saves_bytes": line.saves,
        "saves_percent": 100 * line.saves / now.peak if now.peak else None,
        "phase": line.phase,
        "max_batch_size": line.max_batch,
        "rests_on": line.rests_on,
    }
