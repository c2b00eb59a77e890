"""Whose messages count, of all the processes of a target that have a probe."""

from __future__ import annotations

from memtop.protocol import records


class Voices:
    """A scenario speaks by its root process; a command, for each rank, by the first process with a step to report.

    The others import torch, too: launchers, a loader's workers. They say hello and no more.
    """

    def __init__(self, root: int, *, owned: bool) -> None:
        """`root` is the pid of the target's first process; `owned`: it is a scenario."""
        self._root = root
        self._owned = owned
        self._done: set[int] = set()
        self.speakers: dict[int, int] = {0: root} if owned else {}
        """The pid that speaks for each rank."""

    def heard(self, message: records.Message) -> bool:
        """Whether a message counts."""
        pid, rank = message.pid, message.rank
        if self._owned:
            return pid == self._root
        if isinstance(message, records.Bye):
            self._done.add(pid)
        if rank not in self.speakers and reports(message):
            self.speakers[rank] = pid
        return pid == self.speakers.get(rank, pid)

    def rank_of(self, pid: int) -> int | None:
        """The rank that a process speaks for."""
        return next((rank for rank, speaker in self.speakers.items() if speaker == pid), None)

    def is_done(self, pid: int) -> bool:
        """Whether a process has had its last word."""
        return pid in self._done

    def left(self, pid: int) -> int | None:
        """The connection of `pid` has ended: the rank that is lost by that, or `None`.

        Another process may speak for the rank from then on: a command's next, or a worker that a launcher started anew.
        """
        if self._owned:
            return 0 if pid == self._root else None
        rank = self.rank_of(pid)
        if rank is None:
            return None
        del self.speakers[rank]
        return None if pid in self._done else rank


def reports(message: records.Message) -> bool:
    """Whether this is of a step, or a mark of the person's own."""
    if isinstance(message, records.Event):
        return message.name == "track"
    return isinstance(message, (records.Memory, records.Step))
