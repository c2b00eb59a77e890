"""What the probe does about leaks: tell them, count tensors where the budget has room, ask for looks."""

from __future__ import annotations

import time

from . import wire
from .clock import Clock
from .found import Found
from .governor import Governor
from .inputs import Inputs
from .leaks import Leaks, Told
from .sparse import Sparse
from .tracker import Tracker
from .transport import Transport


class Leaking:
    """The part of the probe that knows of leaks."""

    _link: Transport
    _governor: Governor
    _inputs: Inputs
    _tracker: Tracker
    _clock: Clock

    def _follow_leaks(self, asks: bool) -> None:
        """Begin. `asks`: deep looks may be asked for."""
        self._leaks = Leaks(asks)
        self._sparse = Sparse(self._leaks, self._leaks.passes)

    def _leaks_looked(self, found: Found) -> None:
        """A deep look has been worked out."""
        self._leaks.looked(found)
        self._sparse.looked(found)

    def _count_tensors(self) -> None:
        """A census, where one is due and the budget has room."""
        if not self._sparse.due(self._clock.step):
            return
        if not self._governor.may_count(time.monotonic_ns(), self._tracker.scan_ns):
            return
        began = time.thread_time_ns()
        self._tell_leaks(self._sparse.take(self._clock.step))
        self._governor.counted(time.thread_time_ns() - began, time.monotonic_ns())

    def _news_of_leaks(self) -> None:
        """After a step: what is certain now, and whether the next step must be watched deep to know more."""
        step = self._clock.step
        self._leaks.passes.saw(step, self._inputs.steps_left(), self._inputs.steps_in_all())
        self._tell_leaks([*self._leaks.news(step), *self._sparse.step_ended(step)])
        if self._leaks.due(step) or self._sparse.wants(step):
            self._governor.ask_deep()

    def _tell_leaks(self, events: list[Told]) -> None:
        for name, message, data in events:
            self._link.send(wire.event(name, message, **data))
