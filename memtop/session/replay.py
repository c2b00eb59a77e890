"""A log as if it were live: its records come at the times they tell, at a speed of choice. Thread-safe."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from signal import SIGINT, SIGTERM
from typing import Final

from msgspec.structs import replace

from memtop.model import units
from memtop.model.i18n import _
from memtop.model.records import EndRecord, Record, RunRecord, Setting
from memtop.model.snapshot import Banner, Phase, Snapshot, Tracked
from memtop.session.played import Played
from memtop.session.view import how_it_ended, snapshot
from memtop.sinks.base import SinkError
from memtop.sinks.loading import harmless_records, no_log, opened
from memtop.sinks.replay import LogReader

SPEEDS: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 100.0, 1000.0)
"""What the keys walk through: run seconds a second."""
_NO_OUTPUT: Final = "a log does not hold what the training printed"
_TURN: Final = 0.05
"""Seconds between two looks at the clock."""
_BETWEEN: Final = 1.0
"""Seconds that the last picture of a run stays before the next run of the same log begins."""


class Replay:
    """Every method returns at once. See `memtop.session.shown.Shown`."""

    pid: int | None = None
    is_command = False
    is_guest = False

    def __init__(self, path: str, speed: float = 1.0) -> None:
        self._path = path
        self._speed = speed
        self._lock = threading.RLock()
        self._changed: list[Callable[[], None]] = []
        self._played = Played()
        self._at = 0.0
        """Run seconds that were played."""
        self._paused = False
        self._over = False
        """Whether the log has been played to its end."""
        self._torn = False
        self._seen = 0
        """Records so far."""
        self._looked = 0.0
        """When the clock was looked at."""
        self._again = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memtop-replay", daemon=True)

    def start(self) -> None:
        """Begin. Raises `SinkError` where the file can't be read or holds no record."""
        with opened(self._path) as file:
            if next(iter(LogReader(file)), None) is None:
                raise no_log(self._path)
        self._thread.start()

    def finish(self) -> None:
        """Read the whole log at once, for its last picture. Raises `SinkError`. Instead of `start`."""
        with opened(self._path) as file:
            reader = LogReader(file)
            for record in harmless_records(reader):
                self._take(record)
            if not self._seen:
                raise no_log(self._path)
            self._ended(reader)

    def subscribe(self, callback: Callable[[], None]) -> None:
        """See `Session`."""
        self._changed.append(callback)

    def snapshot(self) -> Snapshot:
        """The run as the log had it at this time. No key that would need a training works on it."""
        with self._lock:
            played = self._played
            seen = snapshot(played, played.around, max(self._at, played.phase_since))
            phase, text = self._phase(seen)
            return replace(
                seen,
                phase=phase,
                phase_text=text,
                choices=(),
                missing=None,
                output=(_NO_OUTPUT,),
                banner=self._banner(),
                replay=self._speed,
            )

    def _phase(self, seen: Snapshot) -> tuple[Phase, str]:
        if seen.phase is Phase.ENDED:
            return Phase.ENDED, seen.phase_text
        if self._over:
            return Phase.ENDED, "the log ends here"
        at = f"×{self._speed:g}, {units.duration(self._at)} into the run"
        if self._paused:
            return Phase.PAUSED, f"replay held, {at}"
        return (Phase.TRAINING if seen.step is not None else Phase.WAITING), f"replay {at}"

    def _banner(self) -> Banner | None:
        played = self._played
        if played.around.problem is not None:
            return played.around.problem
        if played.end is not None:
            failed = played.end.exit_code or played.end.signal not in (None, SIGINT, SIGTERM)
            return Banner(severity="error", text=f"the training {how_it_ended(played.end)}") if failed else None
        if not self._over:
            return None
        why = "its last line is cut off" if self._torn else "it has no end record"
        return Banner(severity="information", text=f"the log ends before the run does: {why}")

    def pause(self) -> None:
        """Hold the replay."""
        self._paused = True
        self._notify()

    def resume(self) -> None:
        """Go on."""
        self._paused = False
        self._notify()

    def faster(self, direction: int) -> float:
        """The next speed, or the one before; what it is then."""
        near = min(range(len(SPEEDS)), key=lambda index: abs(SPEEDS[index] - self._speed))
        self._speed = SPEEDS[max(0, min(len(SPEEDS) - 1, near + direction))]
        self._notify()
        return self._speed

    def restart(self, scenario: str | None = None, settings: Mapping[str, Setting] | None = None) -> None:
        """Play it from its beginning."""
        self._again, self._paused = True, False

    def deep_look(self) -> None:
        """What was is over: nothing more can be looked at."""

    def show_rank(self, rank: int | None) -> None:
        """Rank 0 alone is played."""

    def tracked_since(self, number: int) -> tuple[int, list[Tracked]]:
        """Marks are told to a terminal once, when they are made."""
        return 0, []

    def wait(self, timeout: float | None = None) -> EndRecord | None:
        """How the run ended, once that has been played."""
        self._thread.join(timeout)
        return self._played.end

    def start_log(self, path: str) -> str | None:
        """A log of a log would be the same log."""
        return "this is a replay: the log is there already"

    def stop_logs(self) -> None:
        """None is written."""

    def type(self, text: str) -> str | None:
        """Nobody reads it."""
        return _("a log reads nothing")

    def resize(self, columns: int, lines: int) -> None:
        """A log has no terminal."""

    def stop(self) -> None:
        """Nothing runs."""

    @property
    def status(self) -> int | None:
        """A replay ends well, however the run did."""
        return None

    def output_since(self, line: int) -> tuple[int, list[str]]:
        """A log does not hold what the training printed, and says so."""
        return 1, [_NO_OUTPUT][line:]

    def close(self) -> EndRecord | None:
        """End the replay."""
        self._closed.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(1.0)
        return self._played.end

    def _notify(self) -> None:
        for callback in self._changed:
            callback()

    # -- the thread ----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closed.is_set():
            self._again = False
            with self._lock:
                self._played, self._at, self._over, self._seen = Played(), 0.0, False, 0
                self._looked = time.monotonic()
            try:
                self._play()
            except (OSError, SinkError) as error:
                with self._lock:
                    self._over = True
                    self._played.around.problem = Banner(severity="error", text=f"the log can't be read: {error}")
            self._notify()
            while not self._again and not self._closed.wait(_TURN):
                pass

    def _play(self) -> None:
        with opened(self._path) as file:
            reader = LogReader(file)
            for record in harmless_records(reader):
                if isinstance(record, RunRecord) and self._seen:
                    self._between()
                if not self._wait_until(record.t):
                    return
                self._take(record)
                self._notify()
            self._ended(reader)

    def _between(self) -> None:
        """The last picture of a run stays for a moment: then the next one begins at zero."""
        self._closed.wait(_BETWEEN / max(1.0, self._speed))
        self._at, self._looked = 0.0, time.monotonic()

    def _wait_until(self, t: float) -> bool:
        """Let time go by as the speed has it. False where the replay is to end or to begin anew."""
        while not (self._closed.is_set() or self._again):
            now = time.monotonic()
            if not self._paused:
                self._at += (now - self._looked) * self._speed
            self._looked = now
            if self._at >= t and not self._paused:
                return True
            left = _TURN if self._paused else (t - self._at) / self._speed
            self._closed.wait(min(_TURN, left))
        return False

    def _take(self, record: Record) -> None:
        with self._lock:
            self._seen += 1
            if isinstance(record, RunRecord):
                self._played = Played()
            self._played.take(record)

    def _ended(self, reader: LogReader) -> None:
        with self._lock:
            self._over, self._torn = True, reader.torn
            state = self._played
            self._at = max([self._at, state.phase_since, *(one.t for one in state.devices.values())])
