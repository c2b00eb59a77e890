"""Counts steps and divides their time. All times are `time.monotonic_ns()`."""

from __future__ import annotations

import time
from typing import Any

PHASES = ("forward", "backward", "optimizer", "data", "other")


class Clock:
    """The running step, and the steps since the last report."""

    def __init__(self) -> None:
        self.step = 0
        """Steps completed."""
        self.trained_ns = 0
        """Time in completed steps, pauses left out."""
        self.reported_ns = 0
        self._mark = time.monotonic_ns()
        self._window_ns = 0
        self._steps = 0
        self._samples: int | None = None
        self._phases: list[dict[str, int]] = []
        self.begin()

    def begin(self, at: int | None = None) -> None:
        """The next step begins, now or `at`; what lies before was ours, or a pause."""
        self._mark = time.monotonic_ns() if at is None else at
        self._own_ns = self._optimizer_ns = self._optimizer_at = 0
        self._backward_at: tuple[int, int] | None = None
        self._backward_end: int | None = None
        self._pass_ns: int | None = None

    def forward_ran(self, elapsed_ns: int) -> None:
        """The step is a forward pass and nothing else; it took `elapsed_ns`."""
        self._pass_ns = elapsed_ns

    def backward_began(self, at: int, resumed: int) -> None:
        """The first backward of a watched step; the time from `at` to `resumed` was ours."""
        self._backward_at = (at, resumed)
        self._own_ns += resumed - at

    def backward_ended(self, at: int) -> bool:
        """The first optimizer of the step begins. False for the later ones."""
        first, self._backward_end = self._backward_end is None, self._backward_end or at
        return first

    def optimizer_began(self, at: int, resumed: int) -> None:
        """An optimizer's step begins; the time from `at` to `resumed` was ours."""
        self._optimizer_at = resumed
        self._own_ns += resumed - at

    def optimizer_ended(self, at: int) -> None:
        """An optimizer's step has ended."""
        self._optimizer_ns += at - self._optimizer_at

    def step_ended(self, at: int, data_ns: int, samples: int | None) -> None:
        """A watched step is complete; `data_ns` of it went into the loader, `samples` went into it."""
        elapsed = self.quiet_steps_ended(at, 1)
        self._samples = samples
        if self._backward_at is not None and self._backward_end is not None:
            self._phases.append(self._divided(elapsed, data_ns, self._backward_at, self._backward_end))
        elif self._pass_ns is not None:
            rest = max(0, elapsed - self._own_ns - self._pass_ns - data_ns)
            parts = {"forward": self._pass_ns, "backward": 0, "optimizer": 0, "data": data_ns, "other": rest}
            self._phases.append(parts)

    def since_begin(self, at: int) -> int:
        """Nanoseconds from `begin()` to `at`."""
        return at - self._mark

    def quiet_steps_ended(self, at: int, count: int, skipped: int = 0) -> int:
        """`count` unwatched steps have ended since `begin()`; how long they took. As many more as were `skipped` have
        taken their share of the time."""
        elapsed = (at - self._mark) * count // (count + skipped)
        self.step += count
        self._steps += count
        self.trained_ns += elapsed
        self._window_ns += elapsed
        return elapsed

    def _divided(self, elapsed: int, data_ns: int, backward: tuple[int, int], backward_end: int) -> dict[str, int]:
        """Nanoseconds by phase of a watched step, our own time left out."""
        parts = {
            "forward": backward[0] - self._mark - data_ns,
            "backward": backward_end - backward[1],
            "optimizer": self._optimizer_ns,
            "data": data_ns,
        }
        parts["other"] = elapsed - self._own_ns - sum(parts.values())
        return {name: max(0, value) for name, value in parts.items()}

    def take(self) -> dict[str, Any] | None:
        """What a `step` record says of the steps since the last one; `None` where there were none."""
        if not self._steps:
            return None
        count = len(self._phases)
        facts = {
            "step": self.step,
            "steps": self._steps,
            "seconds": self._window_ns / self._steps / 1e9,
            "phases": {n: sum(p[n] for p in self._phases) / count / 1e9 if count else None for n in PHASES},
            "batch_size": self._samples,
        }
        self._steps, self._window_ns, self._phases = 0, 0, []
        self.reported_ns = time.monotonic_ns()
        return facts
