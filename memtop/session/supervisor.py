"""The small process that has a `memtop run`'s session, so that screens may come and go.

It is forked off before a screen is drawn: the command gets everything of its caller's (files, limits, ignored
signals) as it would from a shell. It leads a session without a terminal, so that a closed window, a lost connection or
a killed screen are nothing to it, and ends when the command has ended and nobody looks any more.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from memtop.launcher import meeting
from memtop.launcher.target import LaunchError
from memtop.model.batch import BatchSample
from memtop.model.snapshot import DeepLook, Phase
from memtop.protocol.supervised import About, Ask, Done, News, receive, send
from memtop.session.options import Options
from memtop.session.session import Session
from memtop.sinks import SinkError

_QUIET: Final = 0.5
"""Seconds after which news are told though there are none: ages grow."""


class Supervisor:
    """One session and whoever looks at it."""

    def __init__(self, options: Options) -> None:
        self._session = Session(options)
        self._news = threading.Condition()
        self._changes = 1
        self._clients = 0
        self._looking = 0
        self._told_to_end = False
        self._started = False
        self._asks = msgspec.json.Decoder(Ask)
        self._session.subscribe(self._changed)

    def serve(self, clients: list[socket.socket]) -> None:
        """Until the command has ended and the last client has gone; `clients` are the first."""
        for client in clients:
            self._welcome(client)
        listener, path = self._listen()
        try:
            with self._news:
                while not self._is_over():
                    self._news.wait(1.0)
        finally:
            self._session.close()
            if listener is not None and path is not None:
                path.unlink(missing_ok=True)
                listener.close()

    def end(self) -> None:
        """Close the logs and go; a command that runs goes on."""
        self._told_to_end = True

    def _is_over(self) -> bool:
        running = self._started and self._session.wait(0) is None
        return self._told_to_end or (self._clients == 0 and not running)

    def _listen(self) -> tuple[socket.socket, Path] | tuple[None, None]:
        try:
            listener, path = meeting.listen("run")
        except LaunchError as error:
            self._session.warn(f"memtop connect can't find this run: {error.message}", error.remedy)
            return None, None
        threading.Thread(target=self._accept, args=(listener,), name="memtop-door", daemon=True).start()
        return listener, path

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if meeting.is_same_user(client):
                self._welcome(client)
            else:
                client.close()

    def _welcome(self, client: socket.socket) -> None:
        with self._news:
            self._clients += 1
        threading.Thread(target=self._attend, args=(client,), name="memtop-client", daemon=True).start()

    def _attend(self, client: socket.socket) -> None:
        """Answer one client until it leaves."""
        looks = False
        try:
            while True:
                ask = receive(client, self._asks)
                if ask.verb == "news" and not looks:
                    looks = True
                    with self._news:
                        self._looking += 1
                send(client, self._answer(ask))
        except OSError:
            pass
        finally:
            client.close()
            self._left(looks)

    def _left(self, looked: bool) -> None:
        with self._news:
            self._clients -= 1
            self._looking -= looked
            unseen = looked and self._looking == 0
            self._news.notify_all()
        if unseen and self._session.snapshot().phase is Phase.PAUSED:
            # Whoever paused it is gone, perhaps for good: a training waits for nobody.
            self._session.resume()

    def _changed(self) -> None:
        with self._news:
            self._changes += 1
            self._news.notify_all()

    def _answer(self, ask: Ask) -> Any:
        if ask.verb == "news":
            return self._tell(ask)
        if ask.verb == "about":
            return self._about()
        done = self._do(ask)
        self._changed()
        return done

    def _do(self, ask: Ask) -> Done:
        session = self._session
        if ask.verb == "start":
            return self._start()
        if ask.verb == "show_rank":
            session.show_rank(ask.rank)
            return Done()
        if ask.verb == "start_log":
            return Done(error=session.start_log(ask.path))
        if ask.verb == "type":
            return Done(error=session.type(ask.text))
        if ask.verb == "resize":
            session.resize(*ask.size)
            return Done()
        getattr(session, ask.verb)()
        return Done()

    def _start(self) -> Done:
        if self._started:
            return Done()
        try:
            self._session.start()
        except (LaunchError, SinkError) as error:
            return Done(error=error.message, remedy=error.remedy)
        self._started = True
        return Done()

    def _tell(self, ask: Ask) -> News:
        with self._news:
            if self._changes == ask.seen:
                self._news.wait(_QUIET)
            seen = self._changes
        session = self._session
        snapshot = session.snapshot()
        deep, batch = which(snapshot.deep), which_batch(snapshot.batch)
        shown = replace(snapshot, tracked=(), deep=None if deep == ask.deep else snapshot.deep)
        return News(
            seen=seen,
            snapshot=replace(shown, batch=None if batch == ask.batch else snapshot.batch),
            deep=deep,
            batch=batch,
            lines=session.output_since(ask.lines),
            marks=session.tracked_since(ask.marks),
            pid=session.pid,
            status=session.status,
        )

    def _about(self) -> About:
        session, snapshot = self._session, self._session.snapshot()
        return About(
            pid=session.pid,
            command=list(session.command),
            seconds=snapshot.t,
            phase=snapshot.phase.value,
            steps=None if snapshot.step is None else snapshot.step.step,
            logs=[str(Path(log.path).absolute()) for log in snapshot.logs if log.ok and not log.closed],
            folder=str(Path.cwd()),
        )


def which(deep: DeepLook | None) -> tuple[float | int | str | bool, ...]:
    """What tells a deep look, and how much of it is known, from any other; empty for none."""
    if deep is None:
        return ()
    parts = (deep.modules, deep.lines, deep.trace)
    return (deep.t, deep.step, deep.peak.device, *(part is not None for part in parts))


def which_batch(batch: BatchSample | None) -> tuple[float | int, ...]:
    """What tells a batch from any other; empty for none."""
    return () if batch is None else (batch.t, batch.rank, batch.step)


def begin(options: Options, clients: list[socket.socket]) -> None:
    """Be the supervisor: in a child that was just forked. `clients` are connections that a screen has the other end of.

    Does not return.
    """
    status = 1
    try:
        os.setsid()
        _leave_the_terminal()
        supervisor = Supervisor(options)
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
            signal.signal(signal.SIGTERM, lambda *_: supervisor.end())
        supervisor.serve(clients)
        status = 0
    finally:
        os._exit(status)


def _leave_the_terminal() -> None:
    """Nothing of ours keeps the person's terminal open. A signal ignored by us would be by the command: none is."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    if nothing > 2:
        os.close(nothing)
