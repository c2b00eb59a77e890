"""What `memtop fit --as cuda` prints, and the same as JSON."""

from __future__ import annotations

from typing import Any

from memtop.fit.planned import Planned, Row
from memtop.model import units

UNPROVED = "an estimate: the model of the allocator has never been compared with a real GPU"
_HEAD = ("batch", "allocated", "reserved", "context", "used", "fits")
_WIDTHS = (9, 11, 11, 21, 25, 7)


def table(made: Planned) -> list[str]:
    """The batches on either side of the answer, the answer, and what it rests on."""
    rows = [f"a CUDA device of {units.size(made.limit)} that is not here; {UNPROVED}", "", _line(_HEAD)]
    rows += [_line(_cells(row, made)) for row in made.rows]
    rows += ["", *_answer(made), "", "it rests on"]
    rows += [f"  two runs of a few steps on {made.device}, at batch {made.batches[0]} and {made.batches[1]}"]
    rows += [f"  {line}" for line in made.rests_on]
    return [*rows, *([f"  the allocator's settings: {made.conf}"] if made.conf else [])]


def _cells(row: Row, made: Planned) -> tuple[str, ...]:
    context = f"{units.size(made.context.low)} – {units.size(made.context.high)}"
    used = f"{units.size(row.low)} – {units.size(row.high)}"
    return (
        f"{row.batch:,}",
        f"~ {units.size(row.allocated)}",
        f"~ {units.size(row.reserved)}",
        context,
        used,
        row.fits,
    )


def _answer(made: Planned) -> list[str]:
    found, size = made.found, units.size(made.limit)
    if not found.perhaps:
        return [f"not even batch {min(found.plans):,} fits {size}"]
    if not found.bounded:
        return [f"memory sets no bound up to batch {found.perhaps:,}"]
    words = f"largest batch that fits: ~ {found.sure:,}" if found.sure else "no batch surely fits"
    return [f"{words}, perhaps {found.perhaps:,}" if found.perhaps > found.sure else words]


def _line(cells: tuple[str, ...]) -> str:
    return "  ".join(cell.rjust(width) for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()


def as_json(made: Planned) -> dict[str, Any]:
    """Sizes in bytes. All of it is an estimate."""
    found = made.found
    return {
        "estimate": True,
        "compared_with_a_gpu": False,
        "as": "cuda",
        "ran_on": made.device,
        "runs": list(made.batches),
        "device_bytes": made.limit,
        "margin": made.margin,
        "alloc_conf": made.conf,
        "batch_size": found.sure,
        "perhaps_batch_size": found.perhaps,
        "bounded": found.bounded,
        "context_bytes": {"low": made.context.low, "high": made.context.high},
        "rows": [_as_json(row) for row in made.rows],
        "rests_on": list(made.rests_on),
    }


def _as_json(row: Row) -> dict[str, Any]:
    return {
        "batch_size": row.batch,
        "fits": row.fits,
        "requested_bytes": row.requested,
        "allocated_bytes": row.allocated,
        "reserved_bytes": row.reserved,
        "used_bytes": {"low": row.low, "middle": row.used, "high": row.high},
    }
