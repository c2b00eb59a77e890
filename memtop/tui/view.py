"""How a person wants to see it: what the drawing functions take besides the snapshot and the size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from memtop.model.records import MemoryRecord, Setting
from memtop.model.units import Unit
from memtop.tui.palette import Palette
from memtop.tui.palettes import MONO

MOMENTS: Final = ("most", "forward_end", "backward_end", "step_end", "peak", "highest")
"""Which record bar and table show: of the newest of each moment of all steps that with the most tensors, the newest of
one moment (`peak` is known from deep looks), or that with the most tensors in the whole run (which `most` shows too
once the run has ended)."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """One key of the footer."""

    key: str
    """As a person reads it: `]`, `space`, `ctrl+s`."""
    label: str
    action: str
    """What a click on it does: the action as a binding names it; empty for none."""
    enabled: bool = True
    last: bool = False
    """Stands at the right end, whatever else finds room."""


class Pinned(msgspec.Struct, frozen=True, kw_only=True):
    """A run's highest moment, kept to hold the next runs against."""

    title: str
    settings: Mapping[str, Setting]
    record: MemoryRecord
    """The memory record whose tensors were most when it was pinned."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """The choices of the one who looks."""

    palette: Palette = MONO
    unit: Unit = "auto"
    moment: str = "most"
    ascii_only: bool = False
    """No character outside ASCII: a terminal without UTF-8."""
    plain: bool = False
    """One screen as text: no picture of a step, no column for its peak."""
    keys: tuple[Key, ...] = ()
    """The footer; empty draws none."""
    pinned: Pinned | None = None
    """The table shows the difference to it."""
    notice: str | None = None
    """A word to the person, in place of the footer: where a file went, why a key did nothing."""
