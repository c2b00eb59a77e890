"""Commands on their way to the target: what was asked for, what a person is told meanwhile, what came of it."""

from __future__ import annotations

from typing import Final

from memtop.model.records import EventRecord
from memtop.model.snapshot import Banner, Phase
from memtop.model.text import harmless
from memtop.protocol.commands import Command, Name
from memtop.protocol.records import Ack, Fault

BRINGS: Final[dict[Name, Phase]] = {"pause": Phase.PAUSED, "resume": Phase.TRAINING}
"""Where a command leaves the session once it took effect; the others leave it where it is."""


class Requests:
    """Not thread-safe: its session's lock is held around each call."""

    def __init__(self) -> None:
        self._count = 0
        self._asked: dict[int, Name] = {}
        self.wants_pause = False
        """A pause was asked for before there was anybody to obey it."""

    def new(self, name: Name) -> Command:
        """The command to send."""
        self._count += 1
        self._asked[self._count] = name
        return Command(id=self._count, name=name)

    def is_pending(self, name: Name, sent: bool) -> bool:
        """Whether a person is told that it is on its way; `sent`: somebody is there to obey."""
        if name in BRINGS:
            self.wants_pause = name == "pause" and not sent
        return sent or name == "pause"

    def done(self, ack: Ack) -> Name | None:
        """The command that has taken effect; `None` for one that was not asked for."""
        return self._asked.pop(ack.id, None)

    def refused(self, fault: Fault) -> Banner:
        """Why a command could not be obeyed, for the head of the screen."""
        self._asked.pop(fault.id, None)
        remedy = None if fault.remedy is None else harmless(fault.remedy, 200)
        return Banner(severity="warning", text=harmless(fault.message, 200), remedy=remedy)


def took_effect(t: float, name: Name, step: int) -> EventRecord:
    """What the log has of a command."""
    return EventRecord(
        t=t, name="command", message=f"{name} took effect after step {step}", data={"name": name, "step": step}
    )
