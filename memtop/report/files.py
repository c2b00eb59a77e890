"""A report as files: one page, or a picture of each chart."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from memtop.model.logbook import Book
from memtop.report.charts import Chart, charts
from memtop.report.library import png, svg
from memtop.report.page import page

SUFFIXES: Final = (".html", ".svg", ".png")
"""What a report may be."""


def write(
    book: Book,
    name: str,
    target: Path,
    notes: tuple[str, ...],
    theme: Literal["light", "dark"],
    only: str | None = None,
) -> list[Path]:
    """Write the report as `target`'s suffix says; of pictures one for each chart, or `only` that.

    Returns what was written. Raises `MissingLibraryError`, `OSError`, and `LookupError` where there is no such chart.
    """
    if target.suffix.lower() == ".html":
        target.write_text(page(book, name, notes), "utf-8")
        return [target]
    drawn = [chart for chart in charts(book) if only in (None, chart.name)]
    if not drawn:
        raise LookupError(", ".join(chart.name for chart in charts(book)))
    return [_picture(chart, target if only else _beside(target, chart.name), theme) for chart in drawn]


def _beside(target: Path, name: str) -> Path:
    return target.with_name(f"{target.stem}-{name}{target.suffix}")


def _picture(chart: Chart, path: Path, theme: Literal["light", "dark"]) -> Path:
    spec = chart.build(theme, False)
    if path.suffix.lower() == ".svg":
        path.write_text(svg(spec), "utf-8")
    else:
        path.write_bytes(png(spec))
    return path
