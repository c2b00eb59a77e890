"""Whose messages are shown, of all the processes of a target that have a probe."""

from __future__ import annotations

from memtop.protocol import records


class Voices:
    """A scenario speaks by its root process; a command by the first process of rank 0 that has a step to report.

    The others import torch, too: launchers, a loader's workers. They say hello and no more.
    """

    def __init__(self, root: int, *, owned: bool) -> None:
        """`root` is the pid of the target's first process; `owned`: it is a scenario."""
        self._root = root
        self._owned = owned
        self._done: set[int] = set()
        self._ranks: set[int] = set()
        self.speaker: int | None = root if owned else None
        """The pid that is shown."""

    def heard(self, message: records.Message) -> bool:
        """Whether a message is to be shown."""
        pid = message.pid
        if self._owned:
            return pid == self._root
        if self.speaker is None and message.rank == 0 and _reports(message):
            self.speaker = pid
        if isinstance(message, records.Bye):
            self._done.add(pid)
        return pid == self.speaker or (self.speaker is None and message.rank == 0)

    def other_rank(self, message: records.Message) -> int | None:
        """The rank above 0 that reports for the first time with this message."""
        if self._owned or message.rank == 0 or message.rank in self._ranks or not _reports(message):
            return None
        self._ranks.add(message.rank)
        return message.rank

    def left(self, pid: int) -> bool:
        """The connection of `pid` has ended: whether that is a loss. A command's next process may speak from now on."""
        if self._owned:
            return pid == self._root
        lost = pid == self.speaker and pid not in self._done
        if pid == self.speaker and not lost:
            self.speaker = None
        return lost


def _reports(message: records.Message) -> bool:
    """Whether this is of a step, or a mark of the person's own."""
    if isinstance(message, records.Event):
        return message.name == "track"
    return isinstance(message, (records.Memory, records.Step))
