"""The marks of `memtop.track()` that a target has set, the newest thousand."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from memtop.model.snapshot import TensorGroup, Tracked
from memtop.model.text import one_line
from memtop.protocol import deep as wire

EVENT: Final = "track"
"""The name of the event that brings a mark."""
_KEPT: Final = 1000


class Marks:
    """What came and went between marks, oldest first."""

    def __init__(self) -> None:
        self._marks: deque[Tracked] = deque(maxlen=_KEPT)
        self.count = 0
        """Marks so far, those no longer kept included."""

    def heard(self, t: float, data: dict[str, Any]) -> None:
        """A mark at run second `t`. Raises `msgspec.ValidationError` where `data` is none."""
        told = wire.track(data)
        mark = Tracked(
            t=t,
            place=one_line(told.place, 400),
            label=one_line(told.label, 200),
            gained=tuple(_group(one) for one in told.gained),
            lost=tuple(_group(one) for one in told.lost),
            total=told.total,
        )
        self._marks.append(mark)
        self.count += 1

    def kept(self) -> tuple[Tracked, ...]:
        """Those still kept."""
        return tuple(self._marks)

    def since(self, number: int) -> tuple[int, list[Tracked]]:
        """(marks so far, those from number `number` on that are still kept)."""
        wanted = min(max(0, self.count - number), len(self._marks))
        return self.count, list(self._marks)[len(self._marks) - wanted :]


def _group(one: wire.Group) -> TensorGroup:
    return TensorGroup(
        shape=tuple(one.shape),
        dtype=one_line(one.dtype, 30),
        kind=one_line(one.kind, 60),
        device=one_line(one.device, 20),
        count=one.count,
        bytes=one.bytes,
    )
