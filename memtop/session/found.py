"""What runs under memtop on this machine, for this person: found by their sockets, asked what they are, opened."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, Final

import msgspec

from memtop.launcher import meeting
from memtop.launcher.command import title
from memtop.launcher.guest import age_of, command_of
from memtop.launcher.target import LaunchError
from memtop.model.text import harmless, one_line
from memtop.model.units import duration
from memtop.protocol.supervised import About, Ask, receive, send
from memtop.session.options import Options
from memtop.session.remote import Remote, connected
from memtop.session.session import Session
from memtop.session.shown import Shown

_PATIENCE: Final = 1.0
"""Seconds that a supervisor has to say what it has."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One that runs. `None` is not known."""

    place: meeting.Place
    pid: int
    command: tuple[str, ...]
    seconds: float | None
    phase: str | None
    """As in a snapshot; `listening`: a program that called `memtop.start()`, and nobody asked it more."""
    steps: int | None
    logs: tuple[str, ...]
    folder: str | None


def find() -> list[Found]:
    """All of them, by pid."""
    found = [_supervised(place) if place.kind == "run" else _started(place) for place in meeting.places()]
    return sorted((one for one in found if one is not None), key=lambda one: one.pid)


def _supervised(place: meeting.Place) -> Found | None:
    link = meeting.call(place, _PATIENCE)
    if link is None:
        return None
    with link:
        try:
            send(link, Ask(verb="about"))
            about = receive(link, msgspec.json.Decoder(About))
        except OSError:
            return None
    if about.pid is None:
        return None
    return Found(
        place=place,
        pid=about.pid,
        command=tuple(about.command),
        seconds=about.seconds,
        phase=about.phase,
        steps=about.steps,
        logs=tuple(about.logs),
        folder=about.folder,
    )


def _started(place: meeting.Place) -> Found | None:
    """A program that listens takes a call for a visit only once the caller speaks."""
    link = meeting.call(place, _PATIENCE)
    if link is None:
        return None
    link.close()
    command, age = command_of(place.pid), age_of(place.pid)
    return Found(
        place=place, pid=place.pid, command=command, seconds=age, phase="listening", steps=None, logs=(), folder=None
    )


def open_found(found: Found) -> Shown:
    """A session to show. Raises `LaunchError` where it has gone meanwhile, or is looked at by another memtop."""
    if found.place.kind == "run":
        session: Remote | None = connected(found.place)
        if session is None:
            raise LaunchError(f"process {found.pid} has just ended", "memtop connect lists what runs")
        return session
    return Session(visit(found.place))


def visit(place: meeting.Place) -> Options:
    """The way into a program that called `memtop.start()`. Raises `LaunchError`."""
    link = meeting.call(place, _PATIENCE)
    if link is None:
        raise LaunchError(f"process {place.pid} does not answer", f"memtop attach {place.pid} looks from outside")
    try:
        link.sendall(b"watch\n")
        answer = link.recv(1)
    except OSError:
        answer = b""
    if answer != b"\n":
        link.close()
        raise LaunchError(f"another memtop watches process {place.pid}", "leave that one first")
    return Options(attach=place.pid, link=link)


def as_rows(runs: list[Found]) -> list[dict[str, Any]]:
    """For `--json`."""
    return [
        {
            "pid": one.pid,
            "command": list(one.command),
            "seconds": None if one.seconds is None else round(one.seconds, 3),
            "phase": one.phase,
            "steps": one.steps,
            "logs": list(one.logs),
            "folder": one.folder,
        }
        for one in runs
    ]


def as_text(runs: list[Found]) -> str:
    """A table: pid, age, steps, state, command, log."""
    rows = [("PID", "RUNNING", "STEPS", "STATE", "COMMAND"), *(_row(one) for one in runs)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = []
    for row, one in zip(rows, [None, *runs], strict=True):
        cells = [row[column].rjust(widths[column]) for column in range(3)] + [row[3].ljust(widths[3]), row[4]]
        lines.append("  ".join(cells).rstrip())
        if one is not None:
            lines += [f"{' ' * widths[0]}  log {harmless(_near(path), 400)}" for path in one.logs]
    return "\n".join([*lines, "", "memtop connect PID opens one"])


def _row(one: Found) -> tuple[str, str, str, str, str]:
    age = "—" if one.seconds is None else duration(one.seconds)
    steps = "—" if one.steps is None else f"{one.steps:,}"
    words = one_line(title([*map(shlex.quote, one.command)]) if one.command else "—", 60)
    return str(one.pid), age, steps, one.phase or "—", words


def _near(path: str) -> str:
    """From the person's home, where it lies there."""
    try:
        return f"~/{Path(path).relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return path
