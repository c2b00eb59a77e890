"""Monitor to target: commands, applied on the training thread at the next step boundary."""

from __future__ import annotations

from typing import Literal

import msgspec

Name = Literal["pause", "resume", "stop", "deep"]
"""`deep`: look deep into the next step."""


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One command line. Answered by an `ack` or a `fault` with the same `id`."""

    id: int
    name: Name


def encode(command: Command) -> bytes:
    """The command as one JSON line."""
    return msgspec.json.encode(command) + b"\n"
