"""What-if lines of the training that runs, and what came of those that were tried for real. Arithmetic only.

Lines are forecast from one run, the base. Another run that differs from it in one line's setting alone is a trial of
that line: what its own deep look measures stands beside the forecast. Any other change makes a new base.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from memtop.model.i18n import _
from memtop.model.records import MemoryRecord, Setting
from memtop.model.snapshot import Snapshot
from memtop.model.whatif import Line
from memtop.model.whatif_look import Told, missing, told
from memtop.tui.draw.figures import tensors_of
from memtop.tui.scenarios import Offered

_REAL: Final[dict[str, tuple[str, Setting]]] = {
    "SGD": ("optimizer", "sgd"),
    "SGD with momentum": ("optimizer", "momentum"),
    "Adam": ("optimizer", "adam"),
    "AdamW": ("optimizer", "adamw"),
    "bf16 autocast": ("precision", "bf16"),
    "pure bf16": ("precision", "pure-bf16"),
    "checkpointing": ("checkpoint", "sqrt"),
    "in-place activations": ("inplace", "on"),
}
"""The setting of a scenario that is what a line says."""
_HALF: Final = "inputs at half the side"
_PASSIVE: Final = frozenset({"steps", "seed"})
"""Settings that leave a step's memory as it is."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line, and what was measured of it."""

    line: Line
    setting: tuple[str, Setting] | None
    """What tries it for real; `None` where this training has no such setting."""
    measured: int | None
    """Peak of its tensors in a run with that setting, bytes."""
    runs: bool
    """Whether it is what runs now."""

    @property
    def off(self) -> float | None:
        """Forecast against measurement, as a share of what was measured."""
        return None if not self.measured else self.line.peak / self.measured - 1


class Trying:
    """Give it snapshots."""

    def __init__(self, offers: Callable[[str], Sequence[Offered]]) -> None:
        """`offers` are the settings of a scenario by its name."""
        self._offers = offers
        self._offered: dict[str, tuple[Setting, ...]] = {}
        self._title: str | None = None
        self._settings: dict[str, Setting] = {}
        self._measured: dict[str, int] = {}
        self._stale: MemoryRecord | None = None
        """The deep look of the run before: a snapshot between two runs may have it beside the next one's settings."""
        self._last: tuple[dict[str, Setting], MemoryRecord | None] = ({}, None)
        self._from: tuple[object, ...] = ()
        self.base: Told | None = None
        """The lines; `None` while they can't be told."""
        self.entries: tuple[Entry, ...] = ()
        self.why: str | None = None
        """Why there are no lines."""

    def take(self, snapshot: Snapshot) -> None:
        """The newest news."""
        settings = {name: value for name, value in snapshot.settings.items() if name not in _PASSIVE}
        fresh = self._is_fresh(settings, snapshot)
        tried = self._tried(snapshot.title, settings)
        if tried is None and (snapshot.title != self._title or settings != self._settings):
            self._begin(snapshot, settings)
        if tried is not None:
            if fresh and snapshot.deep is not None and snapshot.deep.trace is not None:
                self._measured[tried] = tensors_of(snapshot.deep.peak.bytes) or 0
        elif fresh:
            self._tell(snapshot)
        self.why = None if self.base is not None else missing(snapshot) or _("the next deep look will tell")
        self.entries = self._entries(tried)

    def settings_for(self, entry: Entry) -> dict[str, Setting] | None:
        """What to start anew with, so that this line runs; `None` where it can't be tried, or runs already."""
        if entry.runs or (entry.setting is None and not entry.line.now):
            return None
        back = {name: self._settings[name] for name, _value in _REAL.values() if name in self._settings}
        back |= {"side": self._settings["side"]} if "side" in self._settings else {}
        return back | ({} if entry.setting is None else {entry.setting[0]: entry.setting[1]})

    def _is_fresh(self, settings: dict[str, Setting], snapshot: Snapshot) -> bool:
        """Whether the deep look is of the run that has these settings."""
        peak = None if snapshot.deep is None else snapshot.deep.peak
        if settings != self._last[0]:
            self._stale = self._last[1]
        self._last = (settings, peak)
        return peak is None or peak != self._stale

    def _tried(self, title: str, settings: dict[str, Setting]) -> str | None:
        """The line whose setting is all that this run has changed."""
        if self.base is None or title != self._title:
            return None
        changed = {name: value for name, value in settings.items() if value != self._settings.get(name)}
        names = [line.name for line in self.base.lines if not line.now]
        return next((name for name in names if changed and dict([self._setting(name) or ("", None)]) == changed), None)

    def _begin(self, snapshot: Snapshot, settings: dict[str, Setting]) -> None:
        self._title, self._settings, self._measured = snapshot.title, settings, {}
        self.base, self._from = None, ()
        offers = self._offers(snapshot.title) if snapshot.choices else ()
        self._offered = {each.name: each.choices for each in offers}

    def _tell(self, snapshot: Snapshot) -> None:
        deep = snapshot.deep
        parts = (snapshot.forecast, snapshot.model, *(() if deep is None else (deep.trace, deep.modules)))
        same = len(parts) == len(self._from) and all(one is two for one, two in zip(parts, self._from, strict=True))
        if not same:
            self._from, found = parts, told(snapshot)
            self.base = found if found is not None else self.base

    def _entries(self, tried: str | None) -> tuple[Entry, ...]:
        if self.base is None:
            return ()
        return tuple(
            Entry(
                line=line,
                setting=None if line.now else self._setting(line.name),
                measured=line.peak if line.now else self._measured.get(line.name),
                runs=line.now if tried is None else line.name == tried,
            )
            for line in self.base.lines
        )

    def _setting(self, name: str) -> tuple[str, Setting] | None:
        found = self._half() if name == _HALF else _REAL.get(name)
        if found is None or found[1] not in self._offered.get(found[0], ()):
            return None
        return None if self._settings.get(found[0]) == found[1] else found

    def _half(self) -> tuple[str, Setting] | None:
        side = self._settings.get("side")
        return ("side", side // 2) if isinstance(side, int) and side % 2 == 0 else None


def differences(settings: Mapping[str, Setting], now: Mapping[str, Setting]) -> str:
    """What would change, in words: `optimizer sgd`."""
    return _(", ").join(
        f"{_(name.replace('_', ' '))} {value}" for name, value in settings.items() if now.get(name) != value
    )
