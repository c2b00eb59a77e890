"""memtop: htop for training memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memtop.tracking import start as start
    from memtop.tracking import track as track

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`start` and `track`, loaded only when asked for."""
    if name in ("start", "track"):
        from memtop import tracking

        globals().update(start=tracking.start, track=tracking.track)
        return globals()[name]
    raise AttributeError(f"module 'memtop' has no attribute {name!r}")
