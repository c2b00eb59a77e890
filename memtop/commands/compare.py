"""`memtop compare`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from memtop.commands.watching import said
from memtop.terminal import print_json, print_text, terminal_size
from memtop.usage import Number, Refused

if TYPE_CHECKING:
    from memtop.model.compare import Side

GREW = 1
"""The exit status where a run grew by more than it may."""


@click.command("compare")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option(
    "--fail-above",
    metavar="PERCENT",
    type=Number(0, unit="per cent"),
    help="Exit with 1 where a run's highest tensors exceed the first's by more than this.",
)
@click.argument("logs", nargs=-1, metavar="LOG LOG...", type=click.Path())
def command(logs: tuple[str, ...], as_json: bool, fail_above: float | None) -> int:
    """Runs side by side: bytes by category, throughput, loss.

    Bytes are those of each run at its highest. The first run is what the others are held against. A log of a session
    that was restarted holds several runs.
    """
    from memtop.model import compare, compare_text

    sides = _sides(logs)
    grown = compare.growth(sides)
    if fail_above is not None and None in grown:
        raise Refused("--fail-above needs memory figures above 0 of every run", "leave out the log that has none")
    if as_json:
        status = print_json(compare.to_json(sides))
    else:
        status = print_text("\n".join(compare_text.lines(sides, terminal_size()[0])))
    if status == 0 and fail_above is not None and any(one is not None and one > fail_above for one in grown):
        worst = max(one for one in grown if one is not None)
        click.echo(f"memtop: the highest tensors grew by {worst:.2f} %, more than {fail_above:g} %", err=True)
        return GREW
    return status


def _sides(logs: tuple[str, ...]) -> list[Side]:
    from memtop.model.compare import Side
    from memtop.sinks.base import SinkError
    from memtop.sinks.loading import load

    sides = []
    for path in logs:
        with said(SinkError):
            log = load(path)
        for number, book in enumerate(log.books, 1):
            name = path if len(log.books) == 1 else f"{path} (run {number})"
            sides.append(Side(path=name, book=book, note=log.note))
    if len(sides) < 2:
        found = f"{logs[0]} holds one run" if logs else "there is no log"
        raise Refused(f"{found}, and comparing takes two", "as in memtop compare a.jsonl b.jsonl")
    return sides
