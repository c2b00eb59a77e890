"""What goes in: the tensors of a batch, and one sample of it as a picture, as ids or as a row of a table."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from rich.segment import Segment

from memtop.model import batch_text as words
from memtop.model import units
from memtop.model.batch import BatchSample, BatchTensor
from memtop.model.batch_text import elements
from memtop.model.i18n import N_, _
from memtop.tui.draw.cells import Row, beside, fit, left, right, row_width, wrap
from memtop.tui.draw.pixels import half_blocks
from memtop.tui.draw.sheet import GAP, Column, chosen
from memtop.tui.draw.spark import LEVELS
from memtop.tui.palette import Palette
from memtop.tui.view import View

NONE = N_(
    "no batch was seen: in the announced looks no loader of torch yielded one, and no call of a root module was seen "
    "(where torch.compile is in use, none is)"
)

_HISTOGRAM = 3
"""Rows of a histogram where there is room."""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What the tab shows."""

    sample: BatchSample
    number: int
    """Which of the samples."""
    frozen: bool
    newest: int
    """The step of the newest batch, which is another one where this is frozen."""


def tab(shown: Shown, width: int, height: int, view: View) -> list[Row]:
    """`height` rows: the tensors as a table, below it one sample and what is known of all."""
    sample, palette = shown.sample, view.palette
    place = words.main_tensor(sample)
    if place is None:
        return [[Segment(_("the batch holds no tensor"), palette["dim"])]]
    rows = _table(sample, place, width, max(2, height // 3), view)
    rows.append(_which(shown, width, palette))
    room = height - len(rows)
    tensor = sample.tensors[place]
    picture = _picture(shown, width, room, view)
    across = max((row_width(row) for row in picture), default=0)
    told = _facts(shown, tensor, width - across - (2 if across else 0), room, view)
    rows += beside([(across, picture), (width - across - 2, told)], room, 2) if across else told
    return [fit(row, width) for row in rows[:height]]


def _which(shown: Shown, width: int, palette: Palette) -> Row:
    """Which sample of which step."""
    count = words.count(shown.sample)
    which = _("sample {number} of the first {count}").format(number=shown.number + 1, count=count)
    row = [Segment(which if count else _("no sample"), palette["strong"])]
    label = words.label(shown.sample, shown.number)
    if label is not None:
        row += [Segment(_(" · label "), palette["faint"]), Segment(label, palette["accent"])]
    row.append(Segment(_(" · step {step:,}").format(step=shown.sample.step), palette["dim"]))
    if shown.frozen:
        later = _(", the newest is of step {step:,}").format(step=shown.newest)
        row.append(Segment(_(" · held") + later * (shown.newest != shown.sample.step), palette["warn"]))
    return fit(row, width)


# -- the tensors -----------------------------------------------------------------------------------------------------


def _columns() -> list[Column]:
    return [
        Column("place", "from", 6, 2, True),
        Column("shape", "shape", 20, 1, True),
        Column("dtype", "dtype", 9, 2, True),
        Column("range", "values", 20, 3, True),
        Column("mean", "mean", 9, 6),
        Column("bytes", "bytes", 11, 4),
        Column("device", "device", 7, 7, True),
    ]


def _table(sample: BatchSample, place: int, width: int, most: int, view: View) -> list[Row]:
    palette = view.palette
    columns = chosen(_columns(), width, 8)
    room = width - sum(column.width + GAP for column in columns)
    rows = [_row(_("tensor"), [_(column.title) for column in columns], columns, room, palette, "faint")]
    listed = list(enumerate(sample.tensors))[: most - 1]
    if place >= len(listed):
        listed[-1] = (place, sample.tensors[place])
    for index, tensor in listed:
        cells = [_cell(column.name, tensor, view) for column in columns]
        rows.append(_row(tensor.name or _("batch"), cells, columns, room, palette, "text" if index == place else "dim"))
    return rows


def _row(name: str, cells: Sequence[str], columns: Sequence[Column], room: int, palette: Palette, role: str) -> Row:
    row = [Segment(left(name, max(0, room)), palette[role])]
    for column, cell in zip(columns, cells, strict=True):
        text = (left if column.at_left else right)(cell, column.width)
        row.append(Segment(" " * GAP + text, palette[role]))
    return row


def _cell(name: str, tensor: BatchTensor, view: View) -> str:
    if name == "shape":
        return words.shape(tensor)
    if name == "range":
        return words.span(tensor)
    if name == "mean":
        return words.value(tensor.mean)
    if name == "bytes":
        return units.size(tensor.bytes, view.unit)
    place = _("loader") if tensor.place == "loader" else _("model")
    return {"place": place, "dtype": tensor.dtype}.get(name, tensor.device)


# -- one sample ------------------------------------------------------------------------------------------------------


def _picture(shown: Shown, width: int, height: int, view: View) -> list[Row]:
    """At most half of the width, so that the words find room."""
    picture = shown.sample.picture
    if picture is None or height < 1:
        return []
    pixels = picture.pixels[min(shown.number, len(picture.pixels) - 1)]
    letters = view.ascii_only or view.palette.mono
    return half_blocks(
        pixels, picture.width, picture.height, picture.channels, width // 2, height,
        letters=letters, dark=view.palette.dark,
    )  # fmt: skip


def _facts(shown: Shown, tensor: BatchTensor, width: int, height: int, view: View) -> list[Row]:
    """What is known of the samples, what matters most first."""
    palette, sample = view.palette, shown.sample
    rows: list[Row] = []

    def say(text: str, role: str = "text") -> None:
        rows.extend([Segment(line, palette[role])] for line in wrap(text, max(1, width)))

    for text in _shape_words(sample, tensor):
        say(text)
    if tensor.place == "loader":
        say(words.on_the_way(tensor, words.at_root(sample)), "accent")
    count = tensor.shape[0] if tensor.shape else 1
    each = units.size(tensor.bytes // count, view.unit) if count else units.UNKNOWN
    total = units.size(tensor.bytes, view.unit)
    say(_("{each} a sample × {count:,} = {total}").format(each=each, count=count, total=total), "dim")
    for text, role in _reservations(tensor):
        say(text, role)
    rows += _own(shown, tensor, width, height - len(rows) - _HISTOGRAM - 2, view)
    if tensor.histogram and height - len(rows) >= 2:
        rows += _histogram(tensor, width, height - len(rows), palette)
    return rows


def _reservations(tensor: BatchTensor) -> list[tuple[str, str]]:
    """What the figures leave out or warn of, and its colour's role."""
    told, looked = list[tuple[str, str]](), tensor.looked
    if 0 < looked < elements(tensor):
        words = _("figures of the first {looked:,} of {count:,} values")
        told.append((words.format(looked=looked, count=elements(tensor)), "dim"))
    if tensor.unread is not None:
        told.append((_("values not read: {why}").format(why=_(tensor.unread)), "warn"))
    if tensor.nonfinite:
        words = _("{nonfinite:,} of {looked:,} values are NaN or infinite")
        told.append((words.format(nonfinite=tensor.nonfinite, looked=looked), "bad"))
    return told


def _shape_words(sample: BatchSample, tensor: BatchTensor) -> list[str]:
    found = [f"{words.shape(tensor)} = {words.letters(tensor)}" if words.letters(tensor) else words.shape(tensor)]
    picture = sample.picture
    if picture is not None and sample.tensors[picture.tensor] is tensor:
        found[0] += f": {words.channels(tensor, picture.channels)}"
        if tensor.layout == "HWC":
            found.append(_("channels last: torch's convolutions take (N, C, H, W)"))
        black, white = words.value(picture.black), words.value(picture.white)
        found.append(_("black is {black}, white is {white}").format(black=black, white=white))
        full = tensor.shape[1:3] if tensor.layout in ("HWC", "HW") else tensor.shape[2:4]
        if full and [picture.height, picture.width] != list(full):
            before, after = f"{full[1]} × {full[0]}", f"{picture.width} × {picture.height}"
            found.append(_("thinned from {before} to {after} pixels").format(before=before, after=after))
    if tensor.kind == "tokens" and len(tensor.shape) == 2:
        sequences = _("sequences of {length:,} ids, {span}").format(length=tensor.shape[1], span=words.span(tensor))
        if tensor.distinct is not None:
            different = _(", {distinct:,} different in {looked:,}")
            sequences += different.format(distinct=tensor.distinct, looked=tensor.looked)
        found.append(sequences)
    return found


def _own(shown: Shown, tensor: BatchTensor, width: int, height: int, view: View) -> list[Row]:
    """The sample's own values: ids, or its row of the table beside each column's range."""
    if tensor.kind == "tokens":
        return _ids(shown, tensor, width, height, view.palette)
    return _table_columns(shown, tensor, width, height, view.palette) if tensor.kind == "table" else []


def _ids(shown: Shown, tensor: BatchTensor, width: int, height: int, palette: Palette) -> list[Row]:
    """The first ids of the sample; of further tensors of ids that come with it too (targets, masks)."""
    rows: list[Row] = []
    for one in shown.sample.tensors:
        if one.kind != "tokens" or one.place != tensor.place or shown.number >= len(one.first):
            continue
        ids = [words.value(value) for value in one.first[shown.number]]
        more = "" if len(one.shape) == 2 and one.shape[1] <= len(ids) else " …"
        lines = wrap(" ".join(ids) + more, max(1, width - 2))
        if len(rows) + 1 + len(lines) > height and rows:
            break
        rows.append([Segment(one.name or _("batch"), palette["faint"])])
        rows += [[Segment("  "), Segment(line, palette["text"])] for line in lines]
    return rows[: max(0, height)]


def _table_columns(shown: Shown, tensor: BatchTensor, width: int, height: int, palette: Palette) -> list[Row]:
    titles = [_("lowest"), _("mean"), _("highest"), _("this one")]
    own = tensor.first[shown.number] if shown.number < len(tensor.first) else []
    cell = max(8, min(12, (width - 8) // 4 - 2))
    rows: list[Row] = [
        [Segment(left(_("column"), 8) + "".join(right(one, cell + 2) for one in titles), palette["faint"])]
    ]
    for place, column in enumerate(tensor.columns[: max(0, height - 2)]):
        figures = [column.low, column.mean, column.high, own[place] if place < len(own) else None]
        row = [Segment(left(str(place), 8), palette["dim"])]
        row += [Segment(right(words.value(one), cell + 2), palette["text"]) for one in figures]
        rows.append(row)
    listed = len(rows) - 1
    if len(tensor.shape) == 2 and tensor.shape[1] > listed:
        rows.append([Segment(_("and {count:,} columns more").format(count=tensor.shape[1] - listed), palette["faint"])])
    return rows[: max(0, height)]


def _histogram(tensor: BatchTensor, width: int, height: int, palette: Palette) -> list[Row]:
    """How often values occur, above the ends of their range."""
    tall = max(1, min(_HISTOGRAM, height - 1))
    wide = max(1, min(2, width // len(tensor.histogram)))
    counts = tensor.histogram if width >= len(tensor.histogram) else tensor.histogram[: max(0, width)]
    top, rows = max(counts, default=0) or 1, list[Row]()
    for level in range(tall - 1, -1, -1):
        eighths = [-(-8 * tall * one // top) - 8 * level for one in counts]
        bars = "".join((LEVELS[max(1, min(8, one))] if one > 0 else " ") * wide for one in eighths)
        rows.append([Segment(bars, palette.ink("inputs"))])
    across = len(counts) * wide
    low, high = words.value(tensor.low), words.value(tensor.high)
    rows.append([Segment(low + right(high, max(0, across - len(low))), palette["faint"])])
    return rows
