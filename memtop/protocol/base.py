"""What every message of a probe has."""

from __future__ import annotations

import msgspec


class Wire(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """Version, when (`time.monotonic_ns()`), and whose."""

    v: int = 1
    t_ns: int
    pid: int
    rank: int = 0
