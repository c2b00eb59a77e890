"""The subcommands, one file each, with its `command`. They are imported when they are asked for."""

from __future__ import annotations

from typing import Final

NAMES: Final = (
    "run",
    "connect",
    "attach",
    "fit",
    "replay",
    "compare",
    "report",
    "specs",
    "scenarios",
    "doctor",
    "schema",
    "completion",
)
"""In the order of the help. Each is a module of this package."""
