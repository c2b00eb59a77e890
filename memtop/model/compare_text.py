"""Runs side by side as text: bars by category, the figures beneath one another, what differs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Final

from memtop.model import units
from memtop.model.categories import TENSORS
from memtop.model.colours import LETTERS, title
from memtop.model.compare import TOTAL, Side, categories, change, differing
from memtop.model.records import Setting

_NAME: Final = 18
_SIZE: Final = 11
_CHANGE: Final = 20
_NAMES: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def lines(sides: Sequence[Side], width: int) -> list[str]:
    """The whole picture in lines of at most `width` characters, 60 at least; others are held against the first run."""
    width = max(60, width)
    found = [*_runs(sides, width), "", *_bars(sides, width), ""]
    for block in _blocks(sides, width):
        found += [*_table(block), ""]
    found += _settings(sides, width)
    return [line.rstrip() for line in found]


def letter(index: int) -> str:
    """A run's name: A to Z, then its number."""
    return _NAMES[index] if index < len(_NAMES) else str(index + 1)


def _runs(sides: Sequence[Side], width: int) -> list[str]:
    found = []
    for index, side in enumerate(sides):
        book, top = side.book, side.book.top
        parts = [book.name]
        if top is None:
            parts.append("no memory record")
        else:
            rank = f", rank {top.rank}" if top.rank else ""
            parts.append(f"highest on {top.device}{rank}: {top.moment.replace('_', ' ')} of step {top.step:,}")
        words = f": {'; '.join(parts)}"
        found.append(_cut(f"{letter(index)}  {_tail(side.path, width - 3 - len(words))}{words}", width))
        note = side.note or (None if book.end else "it has no end: the run was cut off, or goes on")
        if note is not None:
            found.append(_cut(f"   {note}", width))
    moments = {side.book.top.moment for side in sides if side.book.top is not None}
    if "peak" in moments and len(moments) > 1:
        found.append(_cut("   not the same moment: only a deep look knows a step's peak", width))
    return found


def _bars(sides: Sequence[Side], width: int) -> list[str]:
    """A bar of letters for each run, all on the scale of the highest."""
    scale = max((side.bytes_of(TOTAL) or 0 for side in sides), default=0)
    room = width - 4 - _SIZE
    found = []
    for index, side in enumerate(sides):
        whole = side.bytes_of(TOTAL)
        text = "" if not whole else bar(side, room, scale)
        found.append(f"{letter(index)} |{text:<{room}}|{units.size(whole):>{_SIZE}}")
    legend = [f"{LETTERS[name]} {title(name)}" for name in categories(sides) if name != TOTAL]
    return [*found, *_wrapped(legend, width - 3)]


def bar(side: Side, room: int, scale: int) -> str:
    """The run's tensors in letters: a part's length is its share of `scale`, cut at whole characters of the sum."""
    text, reached = "", 0
    for name in TENSORS:
        reached += max(0, side.bytes_of(name) or 0)
        text += LETTERS[name] * (min(room, round(room * reached / scale)) - len(text))
    return text


def _wrapped(words: Sequence[str], width: int) -> list[str]:
    rows: list[str] = []
    for word in words:
        if rows and len(rows[-1]) + 2 + len(word) <= width:
            rows[-1] += f"  {word}"
        else:
            rows.append(word)
    return [f"   {row}" for row in rows]


def _blocks(sides: Sequence[Side], width: int) -> list[list[tuple[int, Side]]]:
    """The first run with as many others as find room beside it, as often as it takes."""
    room = max(1, (width - _NAME - _SIZE) // (_SIZE + _CHANGE))
    numbered = list(enumerate(sides))
    others = numbered[1:]
    return [[numbered[0], *others[at : at + room]] for at in range(0, len(others), room)] or [numbered]


def _table(block: Sequence[tuple[int, Side]]) -> list[str]:
    first = block[0][1]
    head = " " * _NAME + f"{letter(block[0][0]):>{_SIZE}}"
    for index, _ in block[1:]:
        head += f"{letter(index):>{_SIZE}}" + f"{letter(index)} - {letter(block[0][0])}".rjust(_CHANGE - 9) + " " * 9
    rows = [head]
    for name in categories([side for _, side in block]):
        words = f"{LETTERS[name]} {title(name)}" if name != TOTAL else "all tensors"
        row = f"{words:<{_NAME}}{units.size(first.bytes_of(name)):>{_SIZE}}"
        for _, side in block[1:]:
            row += f"{units.size(side.bytes_of(name)):>{_SIZE}}{_moved(first.bytes_of(name), side.bytes_of(name))}"
        rows.append(row)
    return [*rows, *_pace(block)]


def _moved(before: int | None, after: int | None) -> str:
    moved = change(before, after)
    if moved.difference is None:
        return f"{units.UNKNOWN:>{_CHANGE - 9}}" + " " * 9
    if moved.difference == 0:
        return f"{'=':>{_CHANGE - 9}}" + " " * 9
    return f"{_signed(moved.difference):>{_CHANGE - 9}}{percent(moved.percent):>9}"


def _signed(count: int) -> str:
    return f"+{units.size(count)}" if count > 0 else units.size(count)


def percent(value: float | None) -> str:
    """A change in per cent with its sign; nothing where there is nothing to compare with."""
    if value is None:
        return ""
    if abs(value) < 1000:
        return f"{value:+.1f} %"
    return f"{value:+,.0f} %" if value < 10_000 else f"×{units.short(round(1 + value / 100)).replace(' ', '')}"


def _pace(block: Sequence[tuple[int, Side]]) -> list[str]:
    """Step time, samples a second and loss beneath the same columns."""
    first = block[0][1].book
    steps, samples, loss = f"{'step time':<{_NAME}}", f"{'samples/s':<{_NAME}}", f"{'loss':<{_NAME}}"
    for place, (_, side) in enumerate(block):
        book = side.book
        steps += f"{units.duration(book.step_seconds):>{_SIZE}}"
        samples += f"{units.rate(book.samples_per_second):>{_SIZE}}"
        loss += f"{units.UNKNOWN if book.loss is None else f'{book.loss[1]:.4g}':>{_SIZE}}"
        if place:
            steps += f"{percent(change(first.step_seconds, book.step_seconds).percent):>{_CHANGE}}"
            samples += f"{percent(change(first.samples_per_second, book.samples_per_second).percent):>{_CHANGE}}"
            loss += f"{_loss_of(first.loss, book.loss):>{_CHANGE}}"
    return [steps, samples, loss]


def _loss_of(first: tuple[int, float] | None, other: tuple[int, float] | None) -> str:
    """Losses of different steps are not to be compared: say of which steps they are."""
    if first is None or other is None:
        return ""
    return f"at step {other[0]:,}" if first[0] == other[0] else f"steps {first[0]:,}, {other[0]:,}"


def _settings(sides: Sequence[Side], width: int) -> list[str]:
    found = differing(sides)
    if not found:
        return ["settings: the same"]
    names = [letter(index) for index in range(len(sides))]
    rows = [("settings", *names), *((name, *(_word(value) for value in values)) for name, values in found.items())]
    widths = [max(len(cell) for cell in column) for column in zip_longest(*rows, fillvalue="")]
    return [_cut("  ".join(f"{cell:<{size}}" for cell, size in zip(row, widths, strict=True)), width) for row in rows]


def _word(value: Setting) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return units.UNKNOWN if value is None or value == "" else str(value)


def _tail(path: str, width: int) -> str:
    """The end of a path, which tells logs apart, in 20 characters at least."""
    width = max(20, width)
    return path if len(path) <= width else "…" + path[1 - width :]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
