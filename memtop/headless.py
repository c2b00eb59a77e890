"""A session without a screen: records go to the sinks, words go to stderr, stdout is left to data."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from time import monotonic
from types import FrameType
from typing import Any, Final, Literal, TextIO

from msgspec.structs import replace

from memtop.launcher.relay import Relay
from memtop.model import summary, tracked_text
from memtop.model.records import EndRecord
from memtop.model.snapshot import Snapshot
from memtop.session import Options, Session
from memtop.sinks.lines import READER_GONE

TICK: Final = 0.1
"""Seconds between looks at the session: how long Ctrl-C may take to be heard."""
REPAINT: Final = 0.5
"""Seconds between two progress lines."""
ONCE_LIMIT: Final = 30.0
"""Seconds after which `--once` shows what there is."""
ONCE_PSS_LIMIT: Final = 3.0
"""Seconds that `--once` waits for a PSS reading once it has seen a step: some systems never give one."""
_MOMENTS: Final = ("forward_end", "backward_end", "step_end")


def run(options: Options, *, progress: TextIO | None = None) -> int:
    """Run a session to its end and return the exit status. Raises `LaunchError` or `SinkError` where it can't start.

    `progress` is the terminal for a progress line, `None` for none. The status is the target's own (128 + signal), 0
    where `steps` or `duration` ended it, 130, 143 or 129 after Ctrl-C, TERM or HUP, 141 when stdout's reader left.
    """
    if options.command:
        return _beside(options)
    options = replace(options, output=_output(options, progress))
    session = Session(options)
    with Signals() as signals:
        try:
            session.start()
            screen = _Progress(session, options, progress)
            status = _follow(session, signals, screen)
        finally:
            end = session.close()
        screen.finish()
        _words(summary.lines(session.snapshot(), end))
    return status if status is not None else exit_status(end, options)


def _beside(options: Options) -> int:
    """Run a person's command on our own terminal, all of it the command's, and log beside it; its exit status."""
    options = replace(options, output="stderr" if "-" in options.logs else "inherit")
    with Relay() as relay:
        session = Session(options)
        try:
            session.start()
            screen = _Progress(session, options, None)
            while session.wait(0) is None:
                relay.turn(TICK, session.pid or 0, session.send)
                screen.tick()
            session.wait()
        finally:
            end = session.close()
        screen.finish()
        _words(summary.lines(session.snapshot(), end))
    return 1 if session.status is None else session.status


def once(options: Options, draw: Callable[[Snapshot], str]) -> tuple[int, str]:
    """Run until a whole step was seen, then end the target: the exit status and what `draw` made of it.

    The text is empty after Ctrl-C. Raises `LaunchError` or `SinkError` where the session can't start.
    """
    session = Session(replace(options, output="capture"))
    with Signals() as signals:
        try:
            session.start()
            end = _until_seen(session, signals)
            text = draw(session.snapshot())
        finally:
            session.stop()
            session.close()
    if signals.caught is not None:
        return 128 + signals.caught, ""
    if end is not None and session.status is not None and options.command:
        return session.status, text
    return (0 if end is None else exit_status(end, options)), text


def exit_status(end: EndRecord | None, options: Options) -> int:
    """The target's status as a shell has it; 0 where the time given was over, 1 where nobody knows."""
    if end is None:
        return 1
    if options.attach is not None:
        return 0  # Its own status is known to who started it alone.
    if (
        options.duration is not None
        and end.seconds >= options.duration
        and end.signal in (signal.SIGTERM, signal.SIGKILL)
    ):
        return 0
    if end.signal is not None:
        return 128 + end.signal
    return 1 if end.exit_code is None else end.exit_code


class Signals:
    """While entered, Ctrl-C, TERM and HUP are remembered instead of raised. Those ignored before stay ignored."""

    def __init__(self) -> None:
        self.caught: int | None = None
        """The first signal that came."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, _: FrameType | None) -> None:
        self.caught = self.caught or number


def _output(options: Options, progress: TextIO | None) -> Literal["capture", "inherit", "stderr"]:
    """Where the target's own words go: untouched, unless they would run into our progress line."""
    if "-" in options.logs:
        return "stderr" if progress is None else "capture"
    return "capture" if progress is not None and sys.stdout is not None and sys.stdout.isatty() else "inherit"


def _follow(session: Session, signals: Signals, screen: _Progress) -> int | None:
    """Watch until the target's end (`None`) or until something ends the run: its exit status."""
    while session.wait(TICK) is None:
        if signals.caught is not None:
            return 128 + signals.caught
        if screen.reader_gone():
            return 128 + signal.SIGPIPE
        screen.tick()
    return None


def _until_seen(session: Session, signals: Signals) -> EndRecord | None:
    begun, seen = monotonic(), None
    while signals.caught is None and monotonic() - begun < ONCE_LIMIT:
        if (end := session.wait(TICK)) is not None:
            return end
        snapshot = session.snapshot()
        from_outside = session.is_guest and snapshot.cpu is not None and snapshot.cpu.tree_rss is not None
        if not from_outside and not _step_seen(snapshot):
            continue
        seen = monotonic() if seen is None else seen
        if monotonic() - seen >= ONCE_PSS_LIMIT or (snapshot.cpu is not None and snapshot.cpu.tree_pss is not None):
            break
    return None


def _step_seen(snapshot: Snapshot) -> bool:
    """Every moment of a step past the first was watched: the first has no optimizer state before its end."""
    return all((record := snapshot.moments.get(name)) is not None and record.step >= 2 for name in _MOMENTS)


class _Progress:
    """One line on a terminal, above it what the target prints; marks of `memtop.track()`, on a terminal or not."""

    def __init__(self, session: Session, options: Options, terminal: TextIO | None) -> None:
        self._session = session
        self._terminal = terminal
        self._to_stdout = "-" in options.logs
        self._captured = options.output == "capture"
        self._lines = 0
        self._marks = 0
        self._drawn = ""
        self._next = 0.0

    def reader_gone(self) -> bool:
        """Whether records went to stdout and its reader has left."""
        if not self._to_stdout:
            return False
        return any(log.path == "-" and log.error == READER_GONE for log in self._session.snapshot().logs)

    def tick(self) -> None:
        """Print the marks that came, and repaint where it is time to."""
        marked = self._print_marks()
        if self._terminal is None or (monotonic() < self._next and not marked):
            return
        self._next = monotonic() + REPAINT
        self._print_output()
        self._draw(summary.progress(self._session.snapshot(), _width(self._terminal) - 1))

    def finish(self) -> None:
        """Take the line away and print what the target said last."""
        self._print_marks()
        if self._terminal is not None:
            self._print_output()
            self._draw("")

    def _print_marks(self) -> bool:
        """The marks that came, below what the target printed before them. Whether there were any."""
        total, fresh = self._session.tracked_since(self._marks)
        missed, self._marks = total - len(fresh) - self._marks, total
        if not fresh:
            return False
        text = [f"... {missed:,} marks not shown"] if missed > 0 else []
        text += [line for mark in fresh for line in tracked_text.lines(mark)]
        if self._terminal is not None:
            self._print_output()
            self._draw("")
        _say(self._terminal or sys.stderr, "".join(f"{line}\n" for line in text))
        return True

    def _print_output(self) -> None:
        if not self._captured:
            return
        total, fresh = self._session.output_since(self._lines)
        missed, self._lines = total - len(fresh) - self._lines, total
        if missed > 0:
            fresh = [f"... {missed:,} lines not shown", *fresh]
        if fresh:
            self._draw("")
            _say(sys.stderr if self._to_stdout else sys.stdout, "".join(f"{line}\n" for line in fresh))

    def _draw(self, text: str) -> None:
        if self._terminal is not None and text != self._drawn:
            blank = " " * (len(self._drawn) - len(text))
            _say(self._terminal, f"\r{text}{blank}" if text else f"\r{blank}\r")
            self._drawn = text


def _width(terminal: TextIO) -> int:
    try:
        return os.get_terminal_size(terminal.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _words(lines: list[str]) -> None:
    first, *rest = lines
    _say(sys.stderr, "\n".join([f"memtop: {first}", *(f"  {line}" for line in rest)]) + "\n")


def _say(stream: TextIO | None, text: str) -> None:
    """Print where somebody listens; a terminal that is gone (SIGHUP) is no reason to fail."""
    if stream is None:
        return
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "replace").decode(encoding))
        stream.flush()
    except (OSError, ValueError):
        pass
