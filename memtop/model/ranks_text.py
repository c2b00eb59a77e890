"""The ranks in words: for the screen's strip and for the lines that are left behind. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from memtop.model.ranks import RankStrip
from memtop.model.units import duration, size


def among(ranks: RankStrip) -> str:
    """Which of them is shown: `rank 1`, `the highest, rank 3`."""
    return f"the highest, rank {ranks.shown}" if ranks.follows_most else f"rank {ranks.shown}"


def named(ranks: Sequence[int]) -> str:
    """`rank 3`, `ranks 3, 5 and 8`, `ranks 1, 2, 3 and 4 more`."""
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    head = [f"{rank}" for rank in ranks[:3]]
    if len(ranks) > 3:
        return f"ranks {', '.join(head)} and {len(ranks) - 3} more"
    return f"ranks {', '.join(head[:-1])} and {head[-1]}"


def lines(ranks: RankStrip) -> list[str]:
    """What to leave behind of several ranks: the highest, how far apart, who was slow, who died."""
    worst = ranks.worst
    found = []
    if worst is not None:
        apart = "" if ranks.spread is None else f", spread {size(ranks.spread)} ({ranks.spread_percent or 0:.1f} %)"
        found.append(f"{len(ranks.cells)} ranks: highest {size(worst.peak)} of tensors on rank {worst.rank}{apart}")
    if ranks.stragglers:
        found.append(f"{named(ranks.stragglers)} took longer over a step than the others, which waited")
    for cell in ranks.lost:
        found.append(
            f"rank {cell.rank} was gone after {duration(cell.since)}, at step {cell.step:,}, without a last word"
        )
    return found
