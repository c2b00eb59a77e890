"""`memtop connect`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from memtop.commands.watching import is_interactive, said, speaking
from memtop.terminal import print_json, print_text
from memtop.usage import Refused

if TYPE_CHECKING:
    from memtop.session.found import Found


@click.command("connect")
@speaking
@click.option("--json", "as_json", is_flag=True, help="List as JSON, for scripts.")
@click.argument("pid", required=False, type=click.IntRange(min=1))
def command(*, pid: int | None, as_json: bool) -> int:
    """List what runs under memtop, or open it again.

    Without PID it opens the only one there is, and lists where there are several. PID is that of the training, or of
    a program that called memtop.start().
    """
    from memtop.session.found import as_rows, as_text, find

    runs = find()
    if pid is not None:
        runs = [one for one in runs if pid in (one.pid, one.place.pid)]
        if not runs:
            raise Refused(f"memtop watches no process {pid}", "memtop connect lists what runs, memtop attach takes any")
    if as_json:
        return print_json(as_rows(runs))
    if not runs:
        return print_text("nothing runs under memtop")
    if len(runs) > 1 or not is_interactive():
        return print_text(as_text(runs))
    return _open(runs[0])


def _open(found: Found) -> int:
    from memtop.launcher.target import LaunchError
    from memtop.session.found import open_found

    with said(LaunchError):
        session = open_found(found)
        from memtop.tui import app

        return app.run(session, summary=True)
