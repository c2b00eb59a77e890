"""The right part of the category table while a run is pinned: its highest, and how far this run's is from it."""

from __future__ import annotations

from rich.segment import Segment

from memtop.model import units
from memtop.model.compare import change
from memtop.model.compare_text import percent
from memtop.model.i18n import _
from memtop.model.snapshot import Snapshot
from memtop.model.text import harmless
from memtop.tui.draw.cells import Row, left, right
from memtop.tui.draw.figures import SizeColumn, tensors_of
from memtop.tui.view import Pinned, View

_PERCENT = 10


def head(snapshot: Snapshot, pin: Pinned, size: SizeColumn, room: int) -> str:
    """The columns' names, and what was changed since."""
    if room < 2 + size.width:
        return "  " + left(_("± pinned"), room - 2)
    text = "  " + right(_("pinned"), size.width)
    rest = room - len(text)
    words = (
        _("highest against {value}").format(value=_what(snapshot, pin))
        if rest > size.width + 2 + _PERCENT
        else _("difference")
    )
    return text + "  " + left(words, rest - 2) if rest > 4 else text


def _what(snapshot: Snapshot, pin: Pinned) -> str:
    """Which run that is: another training, other settings, or the same; and whether the moments are alike."""
    now = snapshot.highest
    if now is not None and now.moment != pin.record.moment:
        return _("{value}: {value2}, not {value3}").format(
            value=_which(snapshot, pin),
            value2=_(pin.record.moment.replace("_", " ")),
            value3=_(now.moment.replace("_", " ")),
        )
    return _which(snapshot, pin)


def _which(snapshot: Snapshot, pin: Pinned) -> str:
    if pin.title != snapshot.title:
        return harmless(pin.title, 40)
    names = dict.fromkeys([*pin.settings, *snapshot.settings])
    changed = [name for name in names if pin.settings.get(name) != snapshot.settings.get(name)]
    words = [f"{name.replace('_', ' ')} {pin.settings.get(name)}" for name in changed]
    return harmless(", ".join(words), 80) or _("the same settings")


def cells(view: View, name: str, highest: int | None, size: SizeColumn, room: int) -> Row:
    """One category, `tensors` or `device`: the pinned figure, the difference in bytes and per cent."""
    palette, pin = view.palette, view.pinned
    if pin is None or room < 4:
        return []
    before = _of(pin, name)
    moved = change(before, highest)
    style = palette["faint" if not moved.difference else "warn" if moved.difference > 0 else "good"]
    words = _difference(moved.difference, view)
    share = f"{percent(moved.percent):>{_PERCENT}}" if moved.difference else " " * _PERCENT
    if room < 2 + size.width:
        return [Segment("  " + left(words, room - 2), style)]
    row = [Segment("  " + size.text(before), palette["dim" if before else "faint"])]
    rest = room - 2 - size.width
    if rest < size.width + 3:
        return row
    words = right(words, size.width + 1)
    return [*row, Segment("  " + (words + share if rest >= len(words) + _PERCENT + 2 else words), style)]


def _of(pin: Pinned, name: str) -> int | None:
    if name == "tensors":
        return tensors_of(pin.record.bytes)
    return pin.record.device_total if name == "device" else pin.record.bytes.get(name)


def _difference(count: int | None, view: View) -> str:
    if not count:
        return units.UNKNOWN if count is None else "="
    return f"{'+' if count > 0 else '−'}{units.size(abs(count), view.unit)}"
