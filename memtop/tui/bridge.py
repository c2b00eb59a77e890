"""From the session's threads to the app's: the one crossing. A burst of news is one message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol

INTERVAL: Final = 0.5
"""Seconds between two repaints: 2 Hz."""


class Source(Protocol):
    """What a bridge needs of a session."""

    def subscribe(self, callback: Callable[[], None]) -> None:
        """Call `callback`, on any thread, whenever something changed."""


class Bridge:
    """Calls `post` on the loop's thread after news, at most once per `interval`, and never twice for one piece."""

    def __init__(
        self,
        source: Source,
        post: Callable[[], object],
        interval: float = INTERVAL,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Must be made on the loop's thread."""
        self._loop = asyncio.get_running_loop()
        self._post = post
        self._interval = interval
        self._clock = clock
        self._last = clock() - interval
        self._waiting = False
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        source.subscribe(self._news)

    def close(self) -> None:
        """Hear no more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def urge(self) -> None:
        """Do not wait for the rest of the interval: a person is waiting for an answer."""
        self._last = self._clock() - self._interval

    def _news(self) -> None:
        """On a thread of the session: nearly always only a look at a flag."""
        if self._waiting or self._closed:
            return
        self._waiting = True
        try:
            self._loop.call_soon_threadsafe(self._arm)
        except RuntimeError:
            self._closed = True  # The loop has ended before the session.

    def _arm(self) -> None:
        rest = self._interval - (self._clock() - self._last)
        if rest <= 0:
            self._fire()
        elif not self._closed:
            self._timer = self._loop.call_later(rest, self._fire)

    def _fire(self) -> None:
        # Cleared first: news that come while we draw are drawn in the next round.
        self._waiting = False
        self._last = self._clock()
        if not self._closed:
            self._post()
