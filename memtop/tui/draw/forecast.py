"""Which batch fits: the answer in words, forecast and measurement side by side, and the peak over the batch size."""

from __future__ import annotations

from math import isqrt, log

from rich.segment import Segment

from memtop.model import units
from memtop.model.forecast import Point, peak_at
from memtop.model.forecast_record import ForecastRecord
from memtop.model.i18n import _
from memtop.model.process_limit import DEVICE
from memtop.model.text import harmless
from memtop.tui.draw.cells import Row, cut, join, put, right
from memtop.tui.palette import Palette
from memtop.tui.view import View

LEAST_ROWS = 5
"""A curve of fewer rows says nothing."""


def answer(record: ForecastRecord, view: View) -> list[Row]:
    """The parts of the first line: the largest batch, bytes a sample, the limit."""
    palette = view.palette
    per_sample = [
        Segment(units.size(record.bytes_per_sample, view.unit), palette["text"]),
        Segment(_(" a sample"), palette["dim"]),
    ]
    limit = [Segment(_("limit "), palette["dim"]), Segment(units.size(record.limit_bytes, view.unit), palette["text"])]
    if record.limit_is not in (None, DEVICE):
        limit.append(Segment(f" ({harmless(record.limit_is or '', 20)})", palette["dim"]))
    return [fits(record, palette), per_sample, limit]


def fits(record: ForecastRecord, palette: Palette) -> Row:
    """`fits up to ~ 1,792`; an answer that there is none says why."""
    if record.max_batch_size is None:
        why = _("limit not known yet") if record.limit_bytes is None else _("no bound: nothing grows with the batch")
        return [Segment(why, palette["dim"])]
    if record.max_batch_size == 0:
        return [Segment(_("not even one sample fits"), palette["bad"])]
    each = f" × {record.batches}" if record.batches > 1 else ""
    words = f"{units.number(record.max_batch_size)}{each}"
    return [Segment(_("fits up to ~ "), palette["dim"]), Segment(words, palette["strong"])]


def lines(record: ForecastRecord, batch: int | None, width: int, view: View) -> list[tuple[str, Row]]:
    """(what it tells, row): the answer, then the batch in use as it was forecast and as it was measured."""
    palette, separator = view.palette, Segment(" · ", view.palette["faint"])
    first = join(answer(record, view), width - 9, separator)
    found = [("fits", [Segment(_("forecast "), palette["dim"]), *first])]
    if record.max_length is not None:
        found.append(("length", [Segment("         ", palette["dim"]), *_length(record, palette)]))
    if record.max_pixels is not None:
        found.append(
            ("image", [Segment("         ", palette["dim"]), *join(_image(record, view), width - 9, separator)])
        )
    if (beside := _beside(record, batch, view)) is not None:
        found.append(("beside", [Segment("         ", palette["dim"]), *join(beside, width - 9, separator)]))
    return found


def _length(record: ForecastRecord, palette: Palette) -> Row:
    """`longest sequence ~ 2,048 at batch 8`."""
    return [
        Segment(_("longest sequence ~ "), palette["dim"]),
        Segment(units.number(record.max_length), palette["strong"]),
        Segment(_(" at batch {batch:,}").format(batch=record.batch_size), palette["dim"]),
    ]


def _image(record: ForecastRecord, view: View) -> list[Row]:
    """`images up to ~ 181 × 181 at batch 64`, what a pixel takes, and the largest one seen."""
    palette, (height, width) = view.palette, record.image
    rows = isqrt((record.max_pixels or 0) * height // width)
    columns = rows * width // height
    parts = [
        [
            Segment(_("images up to ~ "), palette["dim"]),
            Segment(f"{units.number(rows)} × {units.number(columns)}", palette["strong"]),
            Segment(_(" at batch {batch:,}").format(batch=record.batch_size), palette["dim"]),
        ]
    ]
    if record.bytes_per_pixel is not None:
        each = units.size(record.bytes_per_pixel, view.unit)
        parts.append([Segment(each, palette["text"]), Segment(_(" a pixel"), palette["dim"])])
    if record.largest_image_bytes is not None and len(record.largest_image) == 2:
        words = _("largest seen {height} × {width}: ~ {size}").format(
            height=record.largest_image[0],
            width=record.largest_image[1],
            size=units.size(record.largest_image_bytes, view.unit),
        )
        parts.append([Segment(words, palette["text"])])
    return parts


def _beside(record: ForecastRecord, batch: int | None, view: View) -> list[Row] | None:
    """Forecast and measurement of the batch in use; `None` where it is the one that all rests on.

    `batch` is what a step trains on: several batches of the loader under gradient accumulation.
    """
    if batch is None or batch % record.batches:
        return None
    batch, palette = batch // record.batches, view.palette
    point = next((one for one in record.points if one.batch_size == batch), None)
    if point is None:
        words = _("batch {batch:,}: ~ {size}").format(
            batch=batch, size=units.size(peak_at(record.phases, batch), view.unit)
        )
        return [[Segment(words, palette["text"])], [Segment(_("not measured yet"), palette["dim"])]]
    if point.predicted_bytes is None:
        return None
    return [
        [
            Segment(
                _("batch {batch:,}: ~ {size}").format(batch=batch, size=units.size(point.predicted_bytes, view.unit)),
                palette["text"],
            )
        ],
        [Segment(_("measured {size}").format(size=units.size(point.measured_bytes, view.unit)), palette["strong"])],
        [Segment(_difference(point), palette["dim"])],
    ]


def _difference(point: Point) -> str:
    share = 100 * ((point.predicted_bytes or 0) / point.measured_bytes - 1) if point.measured_bytes else 0.0
    return "exact" if point.predicted_bytes == point.measured_bytes else f"{share:+.2f} %"


def curve(record: ForecastRecord, width: int, height: int, view: View) -> list[Row]:
    """The peak over the batch size, both doubling evenly: `●` measured, `─` the limit, `▲` the answer below it.

    Nothing where there is no answer to draw, or no room.
    """
    if height < LEAST_ROWS or width < 30 or not record.max_batch_size or not record.limit_bytes:
        return []
    palette, rows = view.palette, height - 1
    label = 10 if view.unit == "auto" else 15
    plot = width - label
    most = max([record.max_batch_size, 2, *(point.batch_size for point in record.points)])
    high = max([record.limit_bytes, *(point.measured_bytes for point in record.points)])
    low = min(peak_at(record.phases, 1), high - 1)
    ends = Segment(" " * label), Segment(" " * plot)
    grid: list[Row] = [list(ends) for _ in range(rows)]
    limit = _place(record.limit_bytes, low, high, rows)
    grid[rows - 1 - limit] = put(grid[rows - 1 - limit], label, "─" * plot, palette["warn"])
    for x in range(plot):
        y = _place(peak_at(record.phases, round(most ** (x / (plot - 1)))), low, high, rows)
        grid[rows - 1 - y] = put(grid[rows - 1 - y], label + x, "•", palette["accent"])
    for point in record.points:
        x, y = _place(point.batch_size, 1, most, plot), _place(point.measured_bytes, low, high, rows)
        grid[rows - 1 - y] = put(grid[rows - 1 - y], label + x, "●", palette["strong"])
    for y, count in ((limit, record.limit_bytes), (0, low)):
        text = right(units.size(count, view.unit), label - 1) + " "
        grid[rows - 1 - y] = put(grid[rows - 1 - y], 0, text, palette["faint"])
    return [*grid, _scale(record, most, label, plot, palette)]


def _place(value: int, low: int, high: int, cells: int) -> int:
    """The cell of a value on a scale that doubles evenly, 0 for `low` and below, the last for `high`."""
    low = max(1, low)
    span = log(max(high, low + 1) / low)
    return max(0, min(cells - 1, round((cells - 1) * log(max(value, low) / low) / span)))


def _scale(record: ForecastRecord, most: int, label: int, plot: int, palette: Palette) -> Row:
    """Batch sizes under the curve: 1, those measured, and the answer at its place."""
    row: Row = [Segment(" " * (label + plot))]
    row = put(row, label, "1", palette["faint"])
    taken = label + 2
    top = f"▲ {record.max_batch_size:,}"
    end = min(label + _place(record.max_batch_size or 0, 1, most, plot), label + plot - len(top))
    for point in record.points:
        words, start = f"{point.batch_size:,}", label + _place(point.batch_size, 1, most, plot)
        if start >= taken and start + len(words) < end:
            row = put(row, start, words, palette["dim"])
            taken = start + len(words) + 1
    return put(row, max(label, end), cut(top, plot), palette["strong"])
