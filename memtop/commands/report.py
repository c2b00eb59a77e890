"""`memtop report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from memtop.commands.watching import said
from memtop.terminal import print_text
from memtop.usage import Refused

if TYPE_CHECKING:
    from memtop.model.logbook import Book
    from memtop.sinks.loading import Log


@click.command("report")
@click.option("-o", "--output", "output", metavar="FILE", required=True, help="run.html; or .svg, .png of each chart.")
@click.option("--chart", metavar="NAME", help="Only this picture: step, time, peak, device or forecast.")
@click.option(
    "--theme",
    type=click.Choice(["light", "dark"]),
    default="light",
    show_default=True,
    help="Of pictures; the page follows its reader's.",
)
@click.option("--run", "number", metavar="N", type=click.IntRange(min=1), help="Which run of the log. [default: last]")
@click.argument("log", metavar="LOG", type=click.Path())
def command(log: str, output: str, chart: str | None, theme: Literal["light", "dark"], number: int | None) -> int:
    """A log as one page that opens offline; or its pictures.

    Needs pip install 'torch-memtop[report]'.
    """
    from memtop.report.files import SUFFIXES, write
    from memtop.report.library import MissingLibraryError
    from memtop.sinks.base import SinkError
    from memtop.sinks.loading import load

    target = Path(output).expanduser()
    if target.suffix.lower() not in SUFFIXES:
        raise Refused(f"{output} is no kind of report", "name it .html, .svg or .png")
    if chart is not None and target.suffix.lower() == ".html":
        raise Refused("--chart is for pictures, and a page has all charts", "name the output .svg or .png")
    with said(SinkError, MissingLibraryError):
        read = load(log)
        book = _chosen(read, number)
        try:
            written = write(book, Path(log).name, target, _notes(read, book), theme, chart)
        except LookupError as error:
            raise Refused(f"{log} has no chart {chart or 'at all'}", f"there are: {error or 'none'}") from error
        except OSError as error:
            raise Refused(f"{output} can't be written: {error.strerror or error}", "choose another place") from error
    return print_text("\n".join(str(path) for path in written))


def _chosen(log: Log, number: int | None) -> Book:
    if number is not None and number > len(log.books):
        raise Refused(f"{log.path} holds {len(log.books)} runs", f"--run takes 1 to {len(log.books)}")
    return log.books[-1 if number is None else number - 1]


def _notes(log: Log, book: Book) -> tuple[str, ...]:
    """What a reader must know of the log."""
    notes = [f"The log is not whole: {log.note}."] if log.note else []
    if len(log.books) > 1:
        notes.append(
            f"The log holds {len(log.books)} runs; this is run {log.books.index(book) + 1}. --run N shows another."
        )
    return tuple(notes)
