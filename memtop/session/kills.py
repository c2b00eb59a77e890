"""Whether the kernel's out-of-memory killer has struck since a launch."""

from __future__ import annotations


class Kills:
    """The kernel's own count, then and now."""

    def __init__(self) -> None:
        self._before: int | None = None

    def begin(self) -> None:
        """A target is launched."""
        self._before = self._count()

    def since(self) -> int | None:
        """Kills since then; `None` where the kernel does not tell."""
        now = self._count()
        return None if now is None or self._before is None else max(0, now - self._before)

    def _count(self) -> int | None:
        from memtop.collectors.cgroup import Cgroup

        return Cgroup().kills()
