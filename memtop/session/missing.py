"""Why a person's command is seen from outside alone, in one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from memtop.launcher.command import is_python, shut_out

PATIENCE: Final = 30.0
"""Seconds without a word from inside before a screen says so: importing torch from a cold disk takes many."""


def why(command: Sequence[str], *, torch: str | None, stepped: bool, over: bool, t: float) -> str | None:
    """What is missing and why; `None` where nothing is, or where it is too early to tell.

    `torch` is the version that a process of the command told, `stepped` whether a step was seen, `over` whether the
    command has ended; `t` is in run seconds.
    """
    if stepped:
        return None
    if torch is not None:
        return f"torch {torch} was imported, and no training step was seen" if over else None
    if (option := shut_out(command)) is not None:
        return f"seen from outside alone: python {option} keeps the probe out; leave {option} out to see the tensors"
    if not over and t < PATIENCE:
        return None
    if is_python(command[0]):
        return "seen from outside alone: no process of this Python has imported torch"
    return (
        "seen from outside alone: no Python of this command has imported torch where the probe can get in "
        "(-I, -S, -E, env -i, sudo and containers keep it out)"
    )
