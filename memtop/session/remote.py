"""A session in its supervisor's process, as a screen sees it: one thread asks for news, whoever acts asks for deeds."""

from __future__ import annotations

import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from memtop.launcher import meeting
from memtop.launcher.target import LaunchError
from memtop.model.records import EndRecord, Setting
from memtop.model.snapshot import Banner, Phase, Snapshot, Tracked
from memtop.protocol.supervised import Ask, Done, News, Verb, receive, send
from memtop.session.options import Options

_GAP: Final = 0.2
"""Seconds between two questions for news: a screen is drawn twice a second."""
_EAGER: Final = (0.02, 3.0)
"""The same while a run is as young as this, seconds: first figures are drawn as they come."""
_PATIENCE: Final = 10.0
"""Seconds that a supervisor has for an answer."""
_STOPPING: Final = 2.0
"""Seconds that a command has to end once it was told to, before the screen is left."""
_LINES: Final = 5000
_MARKS: Final = 1000
_GONE: Final = Banner(
    severity="warning",
    text="the supervisor is gone: figures, output and log ended here",
    remedy="the training goes on by itself",
)


def supervise(options: Options) -> Remote:
    """Fork the supervisor of a command and be its first client. Call it before any thread is started."""
    ours, theirs = zip(socket.socketpair(), socket.socketpair(), strict=True)
    from memtop.session import supervisor

    child = os.fork()
    if child == 0:
        for link in ours:
            link.close()
        supervisor.begin(options, list(theirs))
    for link in theirs:
        link.close()
    return Remote(*ours, child=child)


def connected(place: meeting.Place) -> Remote | None:
    """The session behind a supervisor's socket; `None` where there is none any more."""
    news = meeting.call(place, _PATIENCE)
    deeds = None if news is None else meeting.call(place, _PATIENCE)
    if news is None or deeds is None:
        return None
    return Remote(news, deeds)


class Remote:
    """What a screen needs of a `Session`. Its command goes on without it."""

    is_command = True
    is_guest = False

    def __init__(self, news: socket.socket, deeds: socket.socket, child: int | None = None) -> None:
        """`child` is the supervisor's pid where it is our child."""
        self._links = (news, deeds)
        self._child = child
        for link in self._links:
            link.settimeout(_PATIENCE)
        self._changed: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._acting = threading.Lock()
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._marks: deque[Tracked] = deque(maxlen=_MARKS)
        self._counts = (0, 0)
        self._news: News | None = None
        self._known = threading.Event()
        self._over = threading.Event()
        self._act = threading.Event()
        self._stopped = self._closed = False
        self._begun = monotonic()
        threading.Thread(target=self._follow, args=(news,), name="memtop-news", daemon=True).start()

    def start(self) -> None:
        """Launch the command, unless it runs. Raises `LaunchError` where that is impossible."""
        done = self._do("start")
        if done.error is not None:
            raise LaunchError(done.error, done.remedy)

    def subscribe(self, callback: Callable[[], None]) -> None:
        """See `Session`."""
        self._changed.append(callback)

    def snapshot(self) -> Snapshot:
        """The newest of everything."""
        self._known.wait(_PATIENCE)
        with self._lock:
            if self._news is None:
                raise LaunchError("the supervisor does not answer", "run the command once more")
            return self._news.snapshot

    def output_since(self, line: int) -> tuple[int, list[str]]:
        """See `Session`."""
        with self._lock:
            return _since(self._counts[0], self._lines, line)

    def tracked_since(self, number: int) -> tuple[int, list[Tracked]]:
        """See `Session`."""
        with self._lock:
            return _since(self._counts[1], self._marks, number)

    def pause(self) -> None:
        """See `Session`."""
        self._do("pause")

    def resume(self) -> None:
        """See `Session`."""
        self._do("resume")

    def deep_look(self) -> None:
        """See `Session`."""
        self._do("deep_look")

    def show_rank(self, rank: int | None) -> None:
        """See `Session`. Every screen of the run shows it then."""
        self._do("show_rank", rank=rank)

    def restart(self, scenario: str | None = None, settings: Mapping[str, Setting] | None = None) -> None:
        """A person's own command is never started anew."""

    def start_log(self, path: str) -> str | None:
        """See `Session`."""
        return self._do("start_log", path=os.path.abspath(path)).error  # noqa: PTH100  Not resolved: a link stays one.

    def stop_logs(self) -> None:
        """See `Session`."""
        self._do("stop_logs")

    def type(self, text: str) -> str | None:
        """See `Session`."""
        return self._do("type", text=text).error

    def resize(self, columns: int, lines: int) -> None:
        """See `Session`. Of several screens the one that changed last counts."""
        self._do("resize", size=(columns, lines))

    def stop(self) -> None:
        """TERM to the command; the supervisor stays until it has ended."""
        self._stopped = True
        self._do("stop")

    def wait(self, timeout: float | None = None) -> EndRecord | None:
        """Wait for the command's end; `None` after `timeout` seconds."""
        return self.snapshot().end if self._over.wait(timeout) else None

    @property
    def pid(self) -> int | None:
        """See `Session`."""
        return None if self._news is None else self._news.pid

    @property
    def status(self) -> int | None:
        """See `Session`."""
        return None if self._news is None else self._news.status

    def close(self) -> EndRecord | None:
        """Look no more. Waits for a command that was told to stop, two seconds at most. Idempotent."""
        if self._closed:
            return None if self._news is None else self._news.snapshot.end
        if self._stopped:
            self._over.wait(_STOPPING)
        self._closed = True
        self._act.set()
        for link in self._links:
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
            link.close()
        end = None if self._news is None else self._news.snapshot.end
        if end is not None or self.pid is None:
            self._await_child()
        return end

    def _await_child(self) -> None:
        """The log has its last line when the supervisor is gone."""
        until = monotonic() + _STOPPING
        while self._child is not None and monotonic() < until:
            with suppress(ChildProcessError):
                if os.waitpid(self._child, os.WNOHANG)[0] == 0:
                    self._act.clear()
                    self._act.wait(0.01)
                    continue
            self._child = None

    def _do(self, verb: Verb, **more: Any) -> Done:
        """A wish and its answer. A supervisor that is gone is said on the screen, once."""
        with self._acting:
            try:
                send(self._links[1], Ask(verb=verb, **more))
                done = receive(self._links[1], msgspec.json.Decoder(Done))
            except OSError:
                done = Done(error="the supervisor is gone", remedy="the training goes on by itself")
        self._act.set()
        return done

    def _follow(self, link: socket.socket) -> None:
        """On our own thread: ask for news until either of us is gone."""
        decoder = msgspec.json.Decoder(News)
        deep: tuple[float | int | str | bool, ...] = ()
        batch: tuple[float | int, ...] = ()
        seen = 0
        while not self._closed:
            try:
                lines, marks = self._counts
                send(link, Ask(verb="news", seen=seen, lines=lines, marks=marks, deep=deep, batch=batch))
                news = receive(link, decoder)
            except (OSError, ValueError):
                self._lost()
                return
            seen, deep, batch = news.seen, news.deep, news.batch
            self._keep(news)
            young = monotonic() - self._begun < _EAGER[1]
            self._act.wait(_EAGER[0] if young else _GAP)
            self._act.clear()

    def _keep(self, news: News) -> None:
        with self._lock:
            before = self._news
            self._lines.extend(news.lines[1])
            self._marks.extend(news.marks[1])
            self._counts = (news.lines[0], news.marks[0])
            shown = replace(news.snapshot, tracked=tuple(self._marks))
            if news.deep and shown.deep is None and before is not None:
                shown = replace(shown, deep=before.snapshot.deep)
            if news.batch and shown.batch is None and before is not None:
                shown = replace(shown, batch=before.snapshot.batch)
            self._news = msgspec.structs.replace(news, snapshot=shown)
        self._known.set()
        if shown.end is not None:
            self._over.set()
        self._tell()

    def _lost(self) -> None:
        with self._lock:
            if self._closed or self._news is None or self._news.snapshot.end is not None:
                self._known.set()
                return
            words = "the supervisor is gone"
            shown = replace(self._news.snapshot, phase=Phase.LOST, phase_text=words, banner=_GONE, pending=None)
            self._news = msgspec.structs.replace(self._news, snapshot=shown)
        self._tell()

    def _tell(self) -> None:
        for callback in self._changed:
            callback()


def _since(count: int, kept: deque[str] | deque[Tracked], number: int) -> tuple[int, list]:  # type: ignore[type-arg]
    wanted = min(max(0, count - number), len(kept))
    return count, list(kept)[len(kept) - wanted :]
