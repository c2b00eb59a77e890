"""`memtop doctor`."""

from __future__ import annotations

import click

from memtop.commands.watching import python_at
from memtop.terminal import colour, print_json, print_text, terminal_size
from memtop.usage import Number


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--python", metavar="PATH", help="The Python that would train. [default: memtop's own]")
@click.option("--data", metavar="DIR", help="Check this data folder too.")
@click.option(
    "--timeout",
    metavar="S",
    type=Number(1, unit="seconds"),
    default=30.0,
    show_default=True,
    help="Seconds for a check.",
)
def command(as_json: bool, python: str | None, data: str | None, timeout: float) -> int:
    """What works here, what does not, and the remedy."""
    from memtop import doctor as checks

    report = checks.run(python_at(python), timeout, data)
    if as_json:
        return print_json(report.as_json()) or report.exit_code
    return print_text(report.as_text(terminal_size()[0], colour())) or report.exit_code
