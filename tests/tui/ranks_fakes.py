"""Snapshots of distributed trainings with many ranks, and a session that shows the rank it is asked for."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from memtop.model.ranks import RankCell, RankStrip
from memtop.model.snapshot import Snapshot

from .fakes import FakeSession, cnn


def cell(rank: int, **changes: Any) -> RankCell:
    """A rank of a training of 45 MB, a little apart from the others."""
    base = RankCell(
        rank=rank,
        device=f"cuda:{rank}",
        standing="training",
        since=4.0,
        step=1284,
        now=42_000_000 + 1000 * rank,
        peak=45_234_424 + 70_000 * (rank * 7 % 5),
        seconds=0.0192,
        own=0.008,
    )
    return replace(base, **changes)


def strip(count: int, shown: int = 0, follows_most: bool = False, **changed: RankCell) -> RankStrip:
    """`count` ranks; `r3=cell(3, ...)` puts another cell in the place of rank 3."""
    cells = tuple(changed.get(f"r{rank}", cell(rank)) for rank in range(count))
    return RankStrip(cells=cells, shown=shown, follows_most=follows_most)


def ranked(count: int, **changes: Any) -> Snapshot:
    """A command on `count` GPUs: one rank holds most, one is slow where there are four and more, and of eight and more
    one is gone."""
    odd = {"r1": cell(1, peak=49_000_000)}
    if count >= 4:
        odd["r3"] = cell(3, own=0.015)
    if count >= 8:
        odd["r6"] = cell(6, standing="lost", step=911, seconds=None, since=44.0)
    whole = replace(strip(count, **odd), shown=changes.pop("shown", 0), follows_most=changes.pop("follows_most", False))
    title = f"torchrun --nproc-per-node {count} train.py"
    return cnn(title=title, choices=(), settings={}, lesson="", theory={}, data_source=None, ranks=whole, **changes)


class RankedSession(FakeSession):
    """Shows the rank that it is asked for."""

    def show_rank(self, rank: int | None) -> None:
        self.calls.append(("show_rank", rank))
        ranks = self.now.ranks
        assert ranks is not None
        worst = ranks.worst
        shown = rank if rank is not None else 0 if worst is None else worst.rank
        self.now = replace(self.now, ranks=replace(ranks, shown=shown, follows_most=rank is None))
