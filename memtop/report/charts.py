"""The charts of a run: figures of the log, in integer bytes, as Vega-Lite. No figure is made here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from memtop.model import units
from memtop.model.categories import ALL, TENSORS, of_device
from memtop.model.course import Course
from memtop.model.deep_records import TraceRecord
from memtop.model.logbook import Book
from memtop.model.records import MemoryRecord
from memtop.report.colours import Paint, ground
from memtop.report.forecast import Forecast, forecast_of
from memtop.report.library import Spec
from memtop.report.vega import WORDS, areas, bytes_axis, hover, phases, scale, spec, summits


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """One chart, in whatever paint it is asked for."""

    name: str
    """Its place in a file's name: `step`, `time`, `peak`, `device`, `forecast`."""
    title: str
    says: str
    """What it shows, in a sentence."""
    rows: Sequence[Mapping[str, Any]]
    """Its data: integer bytes by category, and where they stand."""
    build: Callable[[Paint, bool], Spec]
    """The chart in a paint; `True`: it answers to the pointer, and is as wide as what holds it."""


def charts(book: Book) -> list[Chart]:
    """Those that the run has the figures for."""
    place = book.focus
    found: list[Chart] = []
    if place is None:
        return found
    if (trace := book.traces.get(place)) is not None:
        found.append(_step(trace))
    if (course := book.course(place)) is not None:
        peaks = book.courses.get((*place, "peak"))
        found.append(_time(course, peaks.records() if peaks is not None else []))
    found += [_peak(book.highest[place]), *_device(book.highest[place])]
    if (forecast := forecast_of(book)) is not None and forecast.lines:
        found.append(_forecast(forecast))
    return found


def _step(trace: TraceRecord) -> Chart:
    """The sawtooth of one step."""
    names = [name if name in ALL else f"unknown_{index}" for index, name in enumerate(trace.columns)]
    rows: list[dict[str, Any]] = [
        {"x": 1000 * at, **dict(zip(names, point, strict=True)), "sum": sum(point)}
        for at, point in zip(trace.times, trace.points, strict=True)
    ]
    top = rows[trace.peak]
    shown = [name for name in names if any(row[name] for row in rows)]
    marks = [(1000 * mark.at, mark.name) for mark in trace.marks if mark.name != "end"]

    def build(paint: Paint, live: bool) -> Spec:
        layers = [areas(rows, shown, paint, "step-after", "milliseconds since the step began")]
        layers += [*phases(marks, rows[-1]["x"], paint), summits([top], paint)]
        return spec([*layers, *([hover(rows, shown, paint, "ms", "step-after")] if live else [])], paint, live, 320)

    says = (
        f"Step {trace.step:,} on {trace.device}, {units.duration(trace.seconds)} with watching: {trace.changes:,} "
        f"births and deaths of tensors, {len(rows):,} points. "
        f"The highest is {units.size(top['sum'])} ({top['sum']:,} bytes)."
    )
    return Chart(name="step", title="One step", says=says, rows=rows, build=build)


def _time(course: Course, peaks: Sequence[MemoryRecord]) -> Chart:
    """The tensors over the whole run, at one moment of its steps."""
    records = course.records()
    rows = [_row(record) for record in records]
    shown = [name for name in TENSORS if any(row.get(name) for row in rows)]
    tops = [_row(record) for record in peaks]

    def build(paint: Paint, live: bool) -> Spec:
        layers = [areas(rows, shown, paint, "linear", "seconds since the run began"), summits(tops, paint)]
        return spec(
            [*layers, *([hover(rows, shown, paint, "s", "linear", ("step",))] if live else [])], paint, live, 280
        )

    moment = records[0].moment.replace("_", " ")
    says = f"The tensors at the {moment} of {len(rows):,} steps, of {course.seen:,} that were watched."
    says += f" Marked: the peak of {len(tops):,} that were watched whole." if tops and moment != "peak" else ""
    return Chart(name="time", title="The run", says=says, rows=rows, build=build)


def _row(record: MemoryRecord) -> dict[str, Any]:
    """What is known; a category that is not is left out, not zero."""
    found = {name: value for name in TENSORS if (value := record.bytes.get(name)) is not None}
    return {"x": record.t, "step": record.step, **found, "sum": sum(found.values())}


def _peak(record: MemoryRecord) -> Chart:
    """The categories at the highest moment, side by side."""
    rows: list[dict[str, Any]] = [
        {"category": name, "bytes": value} for name in TENSORS if (value := record.bytes.get(name))
    ]

    def build(paint: Paint, live: bool) -> Spec:
        names = [str(row["category"]) for row in rows]
        y = {"field": "category", "type": "nominal", "sort": names, "title": None, "axis": {"labelExpr": WORDS}}
        room = [row["bytes"] * 9 // 8 for row in rows]  # the figure stands behind its bar
        x = {"field": "bytes", "type": "quantitative", **bytes_axis(room)}
        color = {"field": "category", "type": "nominal", "scale": scale(names, paint), "legend": None}
        tip = [{"field": "category"}, {"field": "bytes", "format": ",", "title": "bytes"}]
        bars: Spec = {"mark": {"type": "bar", "height": {"band": 0.7}}, "encoding": {"color": color, "tooltip": tip}}
        label = {"expr": "format(datum.bytes, ',') + ' B'"}
        text: Spec = {"mark": {"type": "text", "align": "left", "dx": 5, "text": label, "color": ground("ink", paint)}}
        layers = [{**one, "encoding": {"x": x, "y": y, **one.get("encoding", {})}} for one in (bars, text)]
        return spec(layers, paint, live, 26 * max(1, len(rows)), rows)

    says = (
        f"All tensors on {record.device} at the {record.moment.replace('_', ' ')} of step {record.step:,}: "
        f"{sum(row['bytes'] for row in rows):,} bytes."
    )
    return Chart(name="peak", title="At the highest", says=says, rows=rows, build=build)


def _device(record: MemoryRecord) -> list[Chart]:
    """The whole device at that moment: nothing where its size is not known."""
    if not record.device_total:
        return []
    order = of_device(record.device)
    rows: list[dict[str, Any]] = [
        {"category": name, "bytes": value, "order": place}
        for place, name in enumerate(order)
        if (value := record.bytes.get(name))
    ]

    def build(paint: Paint, live: bool) -> Spec:
        names = [str(row["category"]) for row in rows]
        x = {"field": "bytes", "type": "quantitative", "stack": "zero", **bytes_axis([record.device_total or 0])}
        legend = {"orient": "bottom", "columns": 7, "title": None, "labelExpr": WORDS, "symbolType": "square"}
        color = {"field": "category", "type": "nominal", "scale": scale(names, paint), "legend": legend}
        tip = [{"field": "category"}, {"field": "bytes", "format": ",", "title": "bytes"}]
        encoding = {"x": x, "color": color, "order": {"field": "order"}, "tooltip": tip}
        return spec([{"mark": {"type": "bar", "height": 40}, "encoding": encoding}], paint, live, 46, rows)

    says = (
        f"{record.device} at the same moment, {record.device_total:,} bytes in all; "
        f"{units.size(record.bytes.get('free'))} were free."
    )
    return [Chart(name="device", title="The whole device", says=says, rows=rows, build=build)]


def _forecast(forecast: Forecast) -> Chart:
    """How high a step goes at other batch sizes."""
    rows = forecast.curve()

    def build(paint: Paint, live: bool) -> Spec:
        x = {"field": "x", "type": "quantitative", "title": "batch size"}
        y = {"field": "sum", "type": "quantitative", **bytes_axis([row["sum"] for row in rows])}
        tip = [{"field": "x", "title": "batch size"}, {"field": "sum", "title": "bytes, estimated", "format": ","}]
        line = {"mark": {"type": "line", "color": ground("accent", paint), "strokeDash": [6, 3], "point": live}}
        layers: list[Spec] = [{**line, "encoding": {"x": x, "y": y, "tooltip": tip}}]
        if forecast.limit is not None:
            rule = {"type": "rule", "color": ground("bad", paint), "strokeWidth": 1.5}
            layers.append({"mark": rule, "encoding": {"y": {"datum": forecast.limit}}})
        return spec(layers, paint, live, 220, rows)

    return Chart(name="forecast", title="Other batch sizes", says=forecast.says(), rows=rows, build=build)
