"""One thread that reads whatever comes: probes' connections, the target's output, its end. Nobody ever waits for us."""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from contextlib import suppress
from typing import Any, Protocol

import msgspec

from memtop.launcher.command import CommandTarget
from memtop.launcher.guest import Guest
from memtop.launcher.target import Address, Target
from memtop.protocol import commands, framing, records
from memtop.session.voices import Voices

_CHUNK = 1 << 16
_DRAIN = 0.3
"""Seconds that are given to what an ended target has left in its pipes."""


class Listener(Protocol):
    """Who hears it. Calls come on the links' thread."""

    def message(self, message: records.Message) -> None: ...
    def malformed(self, count: int) -> None: ...
    def printed(self, chunk: bytes) -> None: ...
    def lost(self, rank: int) -> None: ...
    def left(self, pid: int) -> None: ...
    def ended(self, code: int) -> None: ...
    def tick(self) -> None: ...


class Links:
    """The channels of one target."""

    def __init__(self, target: Target | CommandTarget | Guest, address: Address | None, listener: Listener) -> None:
        self._target = target
        self._address = address
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._splitters: dict[socket.socket, framing.LineSplitter] = {}
        self._pids: dict[socket.socket, int] = {}
        self._voices = Voices(target.pid, owned=isinstance(target, Target))
        self._mains: dict[int, socket.socket] = {}
        self._bell, self._ring = os.pipe()
        self._code: int | None = None
        self._hung_up = False
        self._thread = threading.Thread(target=self._loop, name="memtop-links", daemon=True)
        self._waiter = threading.Thread(target=self._await_end, name="memtop-wait", daemon=True)

    def begin(self) -> None:
        """Start reading."""
        if self._address is not None:
            self._selector.register(self._address.listener, selectors.EVENT_READ, self._accept)
        if isinstance(self._target, Guest) and self._target.link is not None:
            self._welcome(self._target.link)
        self._selector.register(self._bell, selectors.EVENT_READ, self._rung)
        if self._target.stdout is not None:
            os.set_blocking(self._target.stdout.fileno(), False)
            self._selector.register(self._target.stdout, selectors.EVENT_READ, self._output)
        self._thread.start()
        self._waiter.start()

    @property
    def speakers(self) -> list[int]:
        """The pids of the processes that train, one a rank."""
        return list(self._voices.speakers.values())

    def send(self, command: commands.Command, rank: int | None = None) -> bool:
        """A command to the process that trains, of one rank or of all. False where none of them is connected."""
        mains = dict(self._mains)
        links = list(mains.values()) if rank is None else [mains[rank]] if rank in mains else []
        sent = [_sent(link, commands.encode(command)) for link in links]  # To each of them, whatever became of one.
        return any(sent)

    def join(self, timeout: float) -> None:
        """Wait until everything of an ended target has been read."""
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    def hang_up(self) -> None:
        """Leave a process that somebody else started; it goes on, and nobody hears of an end."""
        if isinstance(self._target, Guest):
            self._hung_up = True
            self._target.leave()
            self.join(2.0)

    def _await_end(self) -> None:
        self._code = self._target.wait()
        with suppress(OSError):
            os.write(self._ring, b".")

    def _loop(self) -> None:
        while self._code is None:
            self._turn(0.1)
            self._listener.tick()
        deadline = time.monotonic() + _DRAIN
        while self._turn(0.02) and time.monotonic() < deadline:
            pass
        self._target.sweep()
        code = self._code
        self._close()
        if not self._hung_up:
            self._listener.ended(code)

    def _turn(self, timeout: float) -> bool:
        """Serve what is ready. False when nothing was."""
        ready = self._selector.select(timeout)
        for key, _ in ready:
            key.data(key.fileobj)
        return bool(ready)

    def _rung(self, bell: int) -> None:
        os.read(bell, 16)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            self._welcome(listener.accept()[0])

    def _welcome(self, link: socket.socket) -> None:
        link.setblocking(False)
        self._splitters[link] = framing.LineSplitter()
        self._selector.register(link, selectors.EVENT_READ, self._receive)

    def _receive(self, link: socket.socket) -> None:
        try:
            chunk = link.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        splitter = self._splitters[link]
        before = splitter.oversized
        for line in splitter.feed(chunk):
            self._decode(link, line)
        if splitter.oversized > before:
            self._listener.malformed(splitter.oversized - before)
        if not chunk:
            self._drop(link)

    def _decode(self, link: socket.socket, line: bytes) -> None:
        try:
            message = records.decode(line)
        except msgspec.MsgspecError:
            self._listener.malformed(1)
            return
        self._pids[link] = message.pid
        try:
            if self._voices.heard(message):
                self._mains[message.rank] = link
                self._listener.message(message)
        except Exception:
            # Well-formed and yet absurd (a time of 400 digits): one such line must not end the reading.
            self._listener.malformed(1)

    def _drop(self, link: socket.socket) -> None:
        self._selector.unregister(link)
        del self._splitters[link]
        link.close()
        pid = self._pids.pop(link, 0)
        silent = self._voices.rank_of(pid) is None and not self._voices.is_done(pid)
        lost = self._voices.left(pid)
        self._mains = {rank: main for rank, main in self._mains.items() if main is not link}
        if lost is not None:
            self._listener.lost(lost)
        elif silent:
            self._listener.left(pid)

    def _output(self, pipe: Any) -> None:
        try:
            chunk = os.read(pipe.fileno(), _CHUNK)
        except BlockingIOError:
            return
        if chunk:
            self._listener.printed(chunk)
        else:
            self._selector.unregister(pipe)

    def _close(self) -> None:
        for link in list(self._splitters):
            link.close()
        self._splitters.clear()
        self._mains = {}
        if self._target.stdout is not None:
            self._target.stdout.close()
        self._selector.close()
        self._waiter.join()  # Its last act is to ring: by a number that must still be the bell's.
        os.close(self._bell)
        os.close(self._ring)


def _sent(link: socket.socket, data: bytes) -> bool:
    try:
        link.sendall(data)
    except OSError:
        return False
    return True
