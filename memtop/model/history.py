"""What was, in slots of equal time: the figures behind sparklines and graphs. The log keeps every record."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from memtop.model.ledger import known

TENSOR_SUM = "tensors"
"""The series of the known tensors' sum."""


class History:
    """The newest `slots` slots of `seconds` each. Times are run seconds."""

    def __init__(self, seconds: float = 0.5, slots: int = 360) -> None:
        self.seconds = seconds
        self._slots: deque[dict[str, int]] = deque(maxlen=slots)
        self._losses: deque[float | None] = deque(maxlen=slots)
        self._at = -1
        self._step = -1
        self._held: dict[str, int] = {}

    def add(self, t: float, sizes: Mapping[str, int | None], step: int) -> None:
        """Bytes by category at `t` in `step`: a slot keeps each category's maximum over the steps that touch it.

        The moments of a step that is longer than a slot would else alternate in a graph, and steps that nobody looked
        into would be gaps: a slot without a record holds what the newest step had. A record may come late (a deep look
        tells of its moments when its step is over): it counts from its own slot on.
        """
        self._reach(t)
        if step != self._step:
            self._step, self._held = step, {}
        for name, value in (*sizes.items(), (TENSOR_SUM, known(sizes))):
            if value is not None:
                self._held[name] = max(value, self._held.get(name, value))
        late = max(0, self._at - int(t / self.seconds))
        for slot in list(self._slots)[-1 - late :]:
            slot.update({name: max(value, slot.get(name, value)) for name, value in self._held.items()})

    def add_loss(self, t: float, loss: float | None) -> None:
        """The loss at `t`: a slot keeps the newest."""
        self._reach(t)
        if loss is not None and self._losses:
            self._losses[-1] = loss

    def _reach(self, t: float) -> None:
        """Open the slots up to that of `t`."""
        index = int(t / self.seconds)
        for _ in range(min(index - self._at, self._slots.maxlen or 1)):
            self._slots.append(dict(self._held))
            self._losses.append(None)
        self._at = max(self._at, index)

    def series(self) -> dict[str, tuple[int | None, ...]]:
        """Values by category, oldest slot first; `None` where a slot saw none."""
        names = dict.fromkeys(name for slot in self._slots for name in slot)
        return {name: tuple(slot.get(name) for slot in self._slots) for name in names}

    def losses(self) -> tuple[float | None, ...]:
        """The losses, slot by slot like `series`."""
        return tuple(self._losses)
