"""What watching has cost so far, and whether the next step may be watched.

Every action of the probe on the training thread is timed; encoding on our own thread is counted by its processor
time. A watched step that cost `c` is followed by at least `c / budget` of unwatched training, so that the total stays
within the budget however long a step is. The first two steps are watched without asking: a person should see
everything at once, and the first has no optimizer state yet. They stand outside the budget.
"""

from __future__ import annotations

_GAP_NS = 100_000_000
"""At most ten watched steps a second: a screen shows no more, and each record costs tens of microseconds."""
_ANNOUNCED = 2
"""Steps watched at the start whatever they cost."""
_NEVER = 1 << 62


class Governor:
    """Budget in, permission out. `budget` is a fraction of training time (0.01 is 1 %)."""

    def __init__(self, budget: float) -> None:
        self._budget = budget
        self._since_ns = 0
        self.next_ns = 0
        """No step is watched before this time (`time.monotonic_ns()`)."""
        self._watch_ns = 0
        self._beside_ns = 0
        self._paid_ns = 0
        """What was spent before `_since_ns`, and is paid for."""
        self.spent_ns = 0
        """Time spent on the training thread within the budget, nanoseconds."""
        self.announced_ns = 0
        """Time spent on the announced steps, nanoseconds: outside the budget."""

    def book(self, cost_ns: int, watched: bool, step: int) -> None:
        """`cost_ns` of processor time went into one action of ours on the training thread."""
        if step <= _ANNOUNCED:
            self.announced_ns += cost_ns
        else:
            self.spent_ns += cost_ns
        if watched:
            self._watch_ns += cost_ns

    def may_watch(self, step: int, now_ns: int, beside_ns: int) -> bool:
        """Whether `step`, which begins now, is watched. `beside_ns`: what our own thread has cost so far."""
        if step <= _ANNOUNCED:
            return True
        if self._budget <= 0:
            self.next_ns = _NEVER
            return False
        if self._since_ns == 0:
            self._since_ns, self.next_ns, self._beside_ns = now_ns, now_ns + _GAP_NS, beside_ns
        if now_ns < self.next_ns:
            return False
        overspent = self.spent(beside_ns) - self._paid_ns - self._budget * (now_ns - self._since_ns)
        if overspent > 0:
            self.next_ns = now_ns + int(overspent / self._budget)
            return False
        # What was not spent is not saved up: an idle hour would pay for a slow minute.
        self._since_ns, self._paid_ns = now_ns, self.spent(beside_ns)
        return True

    def spent(self, beside_ns: int) -> int:
        """Nanoseconds spent within the budget so far, our own thread's share `beside_ns` included."""
        return self.spent_ns + (beside_ns - self._beside_ns if self._since_ns else 0)

    def settle(self, now_ns: int) -> None:
        """A watched step has ended: what it cost decides when the next may come."""
        pause = int(self._watch_ns / self._budget) if self._budget > 0 else _NEVER
        self.next_ns = now_ns + max(_GAP_NS, pause)
        self._watch_ns = 0
