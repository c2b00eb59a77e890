"""The monitor's commands, obeyed on the training thread between two steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from . import wire
from .transport import Transport


class Orders:
    """Pause, resume, deep look."""

    def __init__(self, link: Transport, look_deep: Callable[[], None], paused: Callable[[], None]) -> None:
        """`look_deep` asks for a deep look at the next step; `paused` is called when a pause begins."""
        self._link = link
        self._look_deep = look_deep
        self._paused = paused

    def obey(self, step: int) -> None:
        """Apply what has come since the last time, after `step`. Returns once training may go on."""
        while (command := self._link.command()) is not None:
            if self._apply(command, step) == "pause":
                self._paused()
                self._wait(step)

    def _wait(self, step: int) -> None:
        """Paused: wait for `resume`, or for the monitor to go away."""
        while self._link.alive:
            command = self._link.command()
            if command is None:
                time.sleep(0.02)
            elif self._apply(command, step) == "resume":
                return

    def _apply(self, command: dict[str, Any], step: int) -> str | None:
        """Answer one command; its name if we know it."""
        number, name = int(command.get("id", 0)), command.get("name")
        if name not in ("pause", "resume", "deep"):
            self._link.send(wire.fault(number, f"unknown command {name!r}", "use one memtop on both sides"))
            return None
        if name == "deep":
            self._look_deep()
        self._link.send(wire.ack(number, step))
        return str(name)
