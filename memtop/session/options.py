"""What a person asked for on the command line."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Literal

import msgspec

from memtop.model.records import Setting


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """One run, as it was asked for."""

    scenario: str | None = None
    command: tuple[str, ...] = ()
    """A person's own command (`launcher.command.resolved`); empty: a scenario runs."""
    settings: Mapping[str, Setting] = msgspec.field(default_factory=dict)
    """A scenario's settings, complete and checked (`launcher.manifests.resolve`)."""
    python: str | None = None
    """The Python that runs the target; `None` is our own."""
    interval: float = 1.0
    """Seconds between device samples."""
    overhead: float = 1.0
    """The governor's budget, per cent of step time."""
    steps: int | None = None
    """End after this many steps; `None` is until stopped. A command gets TERM at the first word of so many."""
    duration: float | None = None
    """End after this many seconds."""
    logs: tuple[str, ...] = ()
    """Where records go: paths ending in .jsonl or .csv, or `-`."""
    trace_steps: bool = False
    """Whether each deep look's whole step, bytes by category through time, is logged too."""
    warm: bool = False
    """Whether the next scenario is to start from a process that has imported torch already (`launcher.warm`)."""
    output: Literal["capture", "inherit", "stderr"] = "capture"
    """The target's stdout and stderr: kept for the screen, ours, or both to our stderr."""
    size: tuple[int, int] | None = None
    """Columns and lines of the screen that shows the target's output; `None`: as our own terminal has them."""
    environment: Mapping[str, str] = msgspec.field(default_factory=dict)
    """What the target's environment has besides ours."""
    attach: int | None = None
    """The pid of a process that somebody else started; nothing is launched."""
    link: socket.socket | None = None
    """With `attach`: a connection to its probe."""
