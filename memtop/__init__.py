"""memtop: htop for training memory."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`track` and `start` do nothing where memtop does not watch; loaded only when asked for."""
    raise AttributeError(f"module 'memtop' has no attribute {name!r}")
