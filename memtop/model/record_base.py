"""What every record of a log has."""

from __future__ import annotations

import msgspec

VERSION = 1


class RecordBase(msgspec.Struct, frozen=True, kw_only=True):
    """Every record: its version, when, and whose."""

    v: int = VERSION
    """Version of the log's format."""
    t: float
    """Seconds since the run began."""
    rank: int = 0
    """Which rank of a distributed run; 0 where there is one."""
