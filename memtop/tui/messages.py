"""What reaches the app from outside its own thread."""

from __future__ import annotations

from textual.message import Message


class SnapshotReady(Message, bubble=False):
    """The session has news. Carries none of it: whoever handles this asks for the newest snapshot."""

    def can_replace(self, message: Message) -> bool:
        """A burst is one repaint: a newer one supersedes those still in the queue."""
        return isinstance(message, SnapshotReady)
