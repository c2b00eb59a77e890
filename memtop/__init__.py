"""memtop: htop for training memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memtop.tracking import track as track

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`track` does nothing where memtop does not watch; loaded only when asked for."""
    if name == "track":
        from memtop.tracking import track

        globals()["track"] = track
        return track
    raise AttributeError(f"module 'memtop' has no attribute {name!r}")
