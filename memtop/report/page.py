"""One page that holds everything: it makes no request, and its policy lets it make none."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from memtop.model import specs_text, summary, units
from memtop.model.logbook import Book, tensors
from memtop.model.specs import GpuSpec, HostSpec
from memtop.report import tables
from memtop.report.charts import Chart, charts
from memtop.report.colours import variables
from memtop.report.forecast import forecast_of
from memtop.report.html import Html, Part, join, table, tag
from memtop.report.library import script, svg

_TRACE_HINT = "The course of one step is not in this log: memtop --trace-steps --log run.jsonl writes it."
_LOOK_HINT = "This log has no deep look, which tells modules and lines."

_GRAVE = frozenset({"oom", "leak"})
"""Events that stand above everything."""


def page(book: Book, name: str, notes: Sequence[str] = ()) -> str:
    """The run as HTML. `name` is the log's; `notes` say what is not whole about it. Raises `MissingLibraryError`."""
    drawn = charts(book)
    code = script() + "\n" + _file("page.js")
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    head = join(
        [
            Html('<meta charset="utf-8">'),
            Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
            Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            tag("title", f"{book.name}: memory"),
            Html(f"<style>{_style()}</style>"),
        ]
    )
    live = json.dumps({chart.name: chart.build("page", True) for chart in drawn}, separators=(",", ":"))
    data = Html(f'<script type="application/json" id="charts">{_in_script(live)}</script><script>{code}</script>')
    body = tag("body", *_sections(book, name, notes, drawn), data)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>{body}</html>\n'


def _style() -> str:
    light, dark = variables("light"), variables("dark")
    themes = f":root{{{light}}}@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}"
    return themes + _file("page.css")


def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text("utf-8")


def _in_script(text: str) -> str:
    """JSON that can't end the element it stands in."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _sections(book: Book, name: str, notes: Sequence[str], drawn: Sequence[Chart]) -> list[Part]:
    found: list[Part] = [_header(book, name), *(tag("p", note, class_="note") for note in notes)]
    found += [tag("p", one.message, class_="note error") for one in book.events if one.name in _GRAVE]
    found.append(_figures(book))
    by_name = {chart.name: chart for chart in drawn}
    if "step" not in by_name:
        found.append(_section("One step", tag("p", _TRACE_HINT, class_="dim")))
    found += [_figure(by_name[key]) for key in ("step", "time", "peak", "device") if key in by_name]
    found.append(_categories(book))
    found += _inside(book)
    found += _ahead(book, by_name.get("forecast"))
    found += [_events(book), _settings(book), _machine(book)]
    words = f"Made by memtop from {name}. Sizes are bytes; ~ marks an estimate; a dash is what is not known."
    found.append(tag("footer", tag("p", words)))
    return found


def _section(title: str, *parts: Part, long: bool = False) -> Html:
    return tag("section", tag("h2", title), *parts, **({"class_": "long"} if long else {}))


def _header(book: Book, name: str) -> Html:
    run = book.run
    when = "" if run is None else run.started_at[:19].replace("T", " ") + " UTC, "
    ended = "its end is not in the log: it was cut off, or goes on"
    if book.end is not None:
        ended = summary.how(book.end)
    words = f"{when}{book.steps:,} steps in {units.duration(book.last)}; {ended}"
    command = None if run is None or not run.command else tag("p", tag("code", " ".join(run.command)))
    return tag("header", tag("h1", book.name), tag("p", f"{name}: {words}", class_="dim"), command)


def _figures(book: Book) -> Html:
    top = book.top
    shown = [
        (units.size(tensors(top)), "highest tensors" + ("" if top is None else f" on {top.device}")),
        (units.duration(book.step_seconds), "median step"),
        (units.rate(book.samples_per_second), "samples a second"),
        (units.number(book.batch_size), "batch size"),
        (units.UNKNOWN if book.loss is None else f"{book.loss[1]:.4g}", _loss(book)),
    ]
    forecast = forecast_of(book)
    if forecast is not None and forecast.max_batch is not None:
        shown.append((f"~{forecast.max_batch:,}", "largest batch that fits"))
    if book.end is not None and book.end.overhead_percent is not None:
        shown.append((f"~{book.end.overhead_percent:.2f} %", "of its time spent watching"))
    return tag("div", *(tag("div", tag("b", value), words) for value, words in shown), class_="figures")


def _loss(book: Book) -> str:
    return "loss" if book.loss is None else f"loss at step {book.loss[0]:,}"


def _figure(chart: Chart) -> Html:
    still = tag("div", Html(svg(chart.build("page", False))), class_="still")
    figure = tag(
        "figure", still, tag("div", "", class_="live"), tag("figcaption", chart.says), id=f"chart-{chart.name}"
    )
    return _section(chart.title, figure)


def _categories(book: Book) -> Html:
    top = book.top
    if top is None:
        return _section("Categories", tag("p", "No memory record is in this log.", class_="dim"))
    moment = f"{top.moment.replace('_', ' ')} of step {top.step:,}"
    parts: list[Part] = [tag("p", f"{moment}: {summary.peak(top)}" if top.where else moment)]
    parts += [tag("p", note, class_="dim") for note in top.notes]
    parts.append(tables.by_category(top))
    if len(book.highest) > 1:
        parts.append(tables.places(book))
    return _section("Categories at the highest", *parts, long=True)


def _inside(book: Book) -> list[Part]:
    """What the newest deep look found."""
    place = book.focus
    modules = None if place is None else book.modules.get(place)
    lines = None if place is None else book.lines.get(place)
    if modules is None and lines is None:
        return [_section("Modules and lines", tag("p", _LOOK_HINT, class_="dim"))]
    found: list[Part] = []
    if modules is not None:
        words = f"Step {modules.step:,}; each without its children, so that the columns add up."
        found.append(_section("Modules", tag("p", words, class_="dim"), tables.by_module(modules), long=True))
    if lines is not None:
        words = f"Step {lines.step:,}; tensors by the line of your code that was running when they were made."
        found.append(_section("Lines", tag("p", words, class_="dim"), tables.by_line(lines), long=True))
    return found


def _ahead(book: Book, chart: Chart | None) -> list[Part]:
    forecast = forecast_of(book)
    if forecast is None:
        return []
    rows = [(phase, *map(units.number, figures)) for phase, *figures in forecast.lines]
    heads = ("phase", "fixed, B (estimated)", "a sample, B (estimated)", "a pair of samples, B (estimated)")
    used = 4 if any(pair for *_, pair in forecast.lines) else 3
    figures = table(heads[:used], [row[:used] for row in rows], numbers=range(1, used)) if rows else None
    if chart is None:
        return [_section("Other batch sizes", tag("p", forecast.says()), figures)]
    return [_figure(chart), figures]


def _events(book: Book) -> Html:
    more = f"{book.more_events:,} events more." if book.more_events else ""
    more += f" {book.marks:,} marks of memtop.track()." if book.marks else ""
    listed = tables.events(book) if book.events else tag("p", "None.", class_="dim")
    return _section("Events", listed, tag("p", more) if more else None, long=True)


def _settings(book: Book) -> Html:
    known: Mapping[str, Any] = {} if book.run is None else book.run.settings
    rows: list[Sequence[Part]] = [(name.replace("_", " "), _word(value)) for name, value in known.items()]
    model = book.model
    if model is not None:
        rows.append(("model", f"{model.name or units.UNKNOWN}, {model.parameters:,} parameters"))
        rows += [("optimizer seen", ", ".join(model.optimizers))] if model.optimizers else []
        rows += [("input", f"{tuple(one.shape)} {one.dtype}, {one.bytes:,} B") for one in model.inputs]
    return _section("Settings", table(("setting", "value"), rows) if rows else tag("p", "None known.", class_="dim"))


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return units.UNKNOWN if value is None or value == "" else str(value)


def _machine(book: Book) -> Html:
    host: HostSpec | None = None if book.run is None else book.run.host
    gpus: Sequence[GpuSpec] = () if book.run is None else book.run.gpus
    if host is None:
        return _section("Machine", tag("p", "Not in this log.", class_="dim"))
    text = "\n".join(specs_text.lines(host, tuple(gpus), None, 96))
    return _section("Machine", tag("pre", tag("code", text)))
