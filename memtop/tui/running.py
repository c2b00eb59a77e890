"""Runs the app on a session and gives the terminal back on every road: quit, signal, error, a terminal that is gone."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from types import FrameType
from typing import Any, Final

from rich.console import Console

from memtop.model import summary as words
from memtop.model.records import EndRecord
from memtop.session.shown import Shown
from memtop.tui.app import MemtopApp
from memtop.tui.theme import DEFAULT

_GRACE: Final = 1.0
"""Seconds a leaving app has before the terminal is restored over its head."""

_PATIENCE: Final = 0.3
"""Seconds that a terminal has to take the sequences that restore it."""

_RESTORE: Final = (
    "\x1b[?2004l\x1b[?7h\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[<u\x1b[?1049l\x1b[?25h\x1b[?1004l\x1b[0m"
)
"""What the screen switched on, switched off: paste, wrap, mouse, keyboard protocol, alternate screen, cursor, focus."""


def run_app(session: Shown, summary: bool) -> int:
    """See `memtop.tui.app.run`."""
    app = MemtopApp(session, ascii_only=not _utf8(), theme=_theme())
    with _drawn_on_a_terminal(), _signals(app, session) as caught:
        try:
            app.run()
        finally:
            # From here on a second signal must not cut the ending short.
            end = session.close()
    if caught:
        return 128 + caught[0]
    if app.failure is not None:
        return _never_started(app.failure)
    if summary:
        _leave_behind(session, end)
    if session.is_command and session.status is not None:
        return session.status
    return app.return_code or 0


@contextmanager
def _drawn_on_a_terminal() -> Iterator[None]:
    """Textual draws on stderr; where that goes to a file, the screen goes to stdout."""
    before = sys.__stderr__
    if sys.__stdout__ is not None and sys.__stdout__.isatty() and not (before is not None and before.isatty()):
        setattr(sys, "__stderr__", sys.__stdout__)  # noqa: B010  Typed as final; Textual asks for it by this name.
    try:
        yield
    finally:
        setattr(sys, "__stderr__", before)  # noqa: B010


def _theme() -> str:
    """Where there are but 16 colours, the terminal's own are told apart best."""
    return "ansi" if Console(file=sys.stdout).color_system == "standard" else DEFAULT


def _utf8() -> bool:
    return "utf" in (getattr(sys.stdout, "encoding", None) or "").lower()


def _never_started(failure: Exception) -> int:
    remedy = getattr(failure, "remedy", None)
    text = f"memtop: {getattr(failure, 'message', failure)}" + (f"; {remedy}" if remedy else "")
    with suppress(OSError):
        print(text, file=sys.stderr)
    return 2


def _leave_behind(session: Shown, end: EndRecord | None) -> None:
    """What was seen, in the scrollback."""
    with suppress(OSError):
        left = _left_running(session, end)
        print("\n".join([*words.lines(session.snapshot(), end, bool(left)), *left]), flush=True)


def _left_running(session: Shown, end: EndRecord | None) -> list[str]:
    if end is not None or session.pid is None or not session.is_command:
        return []
    again = "attach" if session.is_guest and session.snapshot().missing else "connect"
    return [f"it goes on as process {session.pid}; memtop {again} {session.pid} opens it again"]


@contextmanager
def _signals(app: MemtopApp, session: Shown) -> Iterator[list[int]]:
    """TERM and INT end the app as a key would; HUP means that the terminal is gone. Yields the signals caught."""
    caught: list[int] = []
    leaving = _Leaving(app, session, caught)
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    before = {number: signal.signal(number, leaving) for number in numbers}
    try:
        yield caught
    finally:
        leaving.done()
        for number, handler in before.items():
            signal.signal(number, handler)


class _Leaving:
    """A signal handler. Ends the app from its own loop, and without it where that takes too long."""

    def __init__(self, app: MemtopApp, session: Shown, caught: list[int]) -> None:
        self._app = app
        self._session = session
        self._caught = caught
        self._attributes = _attributes()
        self._over = threading.Event()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Runs on the main thread, between two instructions of whatever it does: it may hold any lock."""
        if self._caught:
            return
        self._caught.append(number)
        gone = number == signal.SIGHUP and _attributes() is None
        # A thread, since the main one may be stuck in a write to a terminal that nobody reads any more.
        threading.Thread(target=self._end, args=(gone,), name="memtop-leaving", daemon=True).start()

    def _end(self, gone: bool) -> None:
        if not gone:
            with suppress(RuntimeError):
                if self._app.loop is not None:
                    self._app.loop.call_soon_threadsafe(self._app.exit, 128 + self._caught[0])
            if self._over.wait(_GRACE):
                return
        with suppress(Exception):
            self._session.close()
        _restore(self._attributes)
        os._exit(128 + self._caught[0])

    def done(self) -> None:
        """The app has ended in order."""
        self._over.set()


def _attributes() -> list[Any] | None:
    try:
        return termios.tcgetattr(0)
    except (termios.error, OSError):
        return None


def _restore(attributes: list[Any] | None) -> None:
    """Give the terminal back by hand, never waiting for it."""
    with suppress(OSError, ValueError, termios.error):
        if attributes is not None:
            termios.tcsetattr(0, termios.TCSANOW, attributes)
        screen = next((number for number in (2, 1) if os.isatty(number)), None)
        if screen is not None:
            os.set_blocking(screen, False)
            try:
                _write_soon(screen, _RESTORE.encode())
            finally:
                os.set_blocking(screen, True)  # The shell shares this open file with us.


def _write_soon(number: int, data: bytes) -> None:
    """Write what can be written within `_PATIENCE` seconds."""
    end = monotonic() + _PATIENCE
    while data and monotonic() < end:
        if select.select([], [number], [], 0.05)[1]:
            with suppress(BlockingIOError):
                data = data[os.write(number, data) :]
