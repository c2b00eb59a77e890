"""What the probe does when nobody is there, and when somebody comes."""

from __future__ import annotations

from typing import Any

from .clock import Clock
from .forwards import Forwards
from .governor import Governor
from .inputs import Inputs
from .raises import Raises
from .steps import Steps
from .transport import Transport
from .visits import Visits


class Visited:
    """The part of the probe that knows of monitors who come and go."""

    _link: Transport
    _governor: Governor
    _inputs: Inputs
    _steps: Steps
    _forwards: Forwards
    _raises: Raises
    _clock: Clock
    _described: dict[str, Any] | None
    _forecast: set[tuple[Any, ...]]

    def _await_visits(self, facts: dict[str, Any]) -> None:
        if isinstance(self._link, Visits):
            self._link.facts, self._link.welcome = facts, self._steps.hurry

    def _unseen(self, at: int) -> bool:
        """Whether the step that ends `at` this time has nobody to be told of. Then it is only counted."""
        if not isinstance(self._link, Visits) or self._link.alive:
            return False
        self._clock.step_ended(at, 0, None)
        self._inputs.step_ended()
        self._rest()
        return True

    def _rest(self) -> None:
        """Nobody is there: for good, or until the next monitor comes. Then steps go on being counted."""
        if isinstance(self._link, Visits):
            self._steps.rest()
            self._forwards.watch(False)
        else:
            self._raises.remove()
            self._steps.remove()
            self._forwards.remove()
        self._inputs.quiet = True

    def _meet(self) -> None:
        """A monitor that knows nothing yet: it is told of the model, and sees the next step from inside."""
        if isinstance(self._link, Visits) and self._link.came:
            self._link.came = False
            self._described = None
            self._forecast.clear()
            self._clock.take()  # The steps that nobody saw are none of its pace.
            self._governor.ask_deep()
