"""The ranks of a distributed training beside each other: who holds most, how far apart they are, who is slow."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Final, Literal

import msgspec

Standing = Literal["waiting", "training", "paused", "lost", "ended"]

_SLOW: Final = 1.2
"""A straggler takes this many times as long as the middle one of the others, at least."""
_MATTERS: Final = 0.05
"""And longer by this part of a whole step: below, nobody waits for it."""


class RankCell(msgspec.Struct, frozen=True, kw_only=True):
    """One rank, in figures."""

    rank: int
    device: str
    standing: Standing
    """`lost`: its connection broke without a last word, so the process died or left without one; `ended`: it left in
    good order."""
    since: float
    """Since when, run seconds."""
    step: int
    """The last step it told of; 0 before the first."""
    now: int | None
    """Tensor bytes at its newest moment."""
    peak: int | None
    """Tensor bytes of its highest record in this run."""
    seconds: float | None
    """Seconds a step, over the last seconds."""
    own: float | None
    """Seconds of a step in data, forward and what is in none of the phases: the middle one of its newest watched steps,
    `None` before there are three. Ranks wait for each other in backward (that is where DDP reduces gradients), so whole
    steps are of equal length and this is not. FSDP's ranks wait in forward, too: there it tells less."""


class RankStrip(msgspec.Struct, frozen=True, kw_only=True):
    """All ranks that reported, and which of them the rest of the screen shows."""

    cells: tuple[RankCell, ...]
    """In the order of their ranks; two at least."""
    shown: int
    """The rank whose figures a snapshot holds."""
    follows_most: bool = False
    """Whether that is the rank whose peak is highest, whichever it is: the maximum over all ranks. It is one rank's
    record and not the maxima of each category, so its parts add up."""

    @property
    def worst(self) -> RankCell | None:
        """The rank with the highest peak; the first of equals."""
        return max(self._known(), key=lambda cell: (cell.peak or 0, -cell.rank), default=None)

    @property
    def spread(self) -> int | None:
        """Bytes between the highest and the lowest peak; `None` where fewer than two are known."""
        peaks = [cell.peak for cell in self._known() if cell.peak is not None]
        return max(peaks) - min(peaks) if len(peaks) > 1 else None

    @property
    def spread_percent(self) -> float | None:
        """The same in per cent of the highest peak."""
        spread, worst = self.spread, self.worst
        return None if spread is None or worst is None or not worst.peak else 100 * spread / worst.peak

    @property
    def stragglers(self) -> tuple[int, ...]:
        """The ranks that the others wait for. Unknown times are nobody's fault."""
        training = [cell for cell in self.cells if cell.standing in ("training", "paused")]
        slow = _slow([cell for cell in training if cell.own is not None], lambda cell: cell.own)
        slow |= _slow(training, lambda cell: cell.seconds) & {cell.rank for cell in training if cell.own is None}
        return tuple(sorted(slow))

    @property
    def lost(self) -> tuple[RankCell, ...]:
        """The ranks that died, first to last."""
        return tuple(sorted((cell for cell in self.cells if cell.standing == "lost"), key=lambda cell: cell.since))

    def _known(self) -> list[RankCell]:
        return [cell for cell in self.cells if cell.peak is not None]


def _slow(cells: list[RankCell], time: Callable[[RankCell], float | None]) -> set[int]:
    """The ranks whose `time` stands out from the middle one of the others."""
    known = [(value, cell) for cell in cells if (value := time(cell)) is not None and cell.seconds is not None]
    times = sorted(value for value, _ in known)
    found = set()
    for value, cell in known if len(known) > 1 else ():
        place = bisect_left(times, value)
        others = times[:place] + times[place + 1 :]
        usual = (others[(len(others) - 1) // 2] + others[len(others) // 2]) / 2
        if _slower(value, usual, cell.seconds or 0.0):
            found.add(cell.rank)
    return found


def _slower(time: float, usual: float, step: float) -> bool:
    return time > _SLOW * usual and time - usual > _MATTERS * step
