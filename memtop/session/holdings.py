"""What the target held on each device when that device was read from outside: two sources, two instants."""

from __future__ import annotations

from collections import deque
from typing import Final

_KEPT: Final = 256
"""Readings of the probe that are remembered: seconds of them, and the outside is read more often than that."""


class Holdings:
    """Readings of the probe arrive late and not in order: a deep look tells of its moments when its step is over."""

    def __init__(self) -> None:
        self._told: dict[str, deque[tuple[float, int]]] = {}
        self._read: dict[str, float] = {}
        self._then: dict[str, int | None] = {}

    def held(self, device: str, t: float, count: int) -> None:
        """The target held `count` bytes at run second `t`: known tensors on the CPU, torch's reserve on CUDA."""
        self._told.setdefault(device, deque(maxlen=_KEPT)).append((t, count))
        read = self._read.get(device)
        if read is not None and t <= read:
            self._then[device] = self._at(device, read)

    def read(self, device: str, t: float) -> None:
        """The device was read from outside at run second `t`."""
        if self._read.get(device) != t:
            self._read[device] = t
            self._then[device] = self._at(device, t)

    def then(self, device: str) -> int | None:
        """Bytes that the target held when the device was read; `None` before the first reading, and where the probe had
        not told of that device before."""
        return self._then.get(device)

    def forget(self, device: str) -> None:
        """The readings were another device's."""
        self._then.pop(device, None)
        self._read.pop(device, None)

    def _at(self, device: str, t: float) -> int | None:
        """What the newest word of the probe at or before `t` says; `None` where there was none."""
        before = [one for one in reversed(self._told.get(device, ())) if one[0] <= t]
        return max(before, key=lambda one: one[0])[1] if before else None
