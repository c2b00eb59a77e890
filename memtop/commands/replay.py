"""`memtop replay`."""

from __future__ import annotations

import sys

import click

from memtop.commands.watching import is_interactive, said, speaking
from memtop.terminal import colour, number_from, print_text, terminal_size
from memtop.usage import Number


@click.command("replay")
@click.option(
    "--speed",
    metavar="X",
    type=Number(0.01, 1000, unit="run seconds a second"),
    default=1.0,
    show_default=True,
    help="How fast its time goes by; the keys ( and ) change it.",
)
@speaking
@click.option("--once", is_flag=True, help="Print its last picture as text, then end.")
@click.argument("log", metavar="LOG", type=click.Path())
def command(log: str, speed: float, once: bool) -> int:
    """A log as if it were live, on the same screens. Without a terminal: its last picture."""
    from memtop.session.replay import Replay
    from memtop.sinks.base import SinkError

    replay = Replay(log, speed)
    with said(SinkError):
        if once or not is_interactive():
            replay.finish()
            return _once(replay.snapshot())
        from memtop.tui import app

        return app.run(replay, summary=False)


def _once(snapshot: object) -> int:
    from memtop.model.snapshot import Snapshot
    from memtop.tui.once import render

    assert isinstance(snapshot, Snapshot)
    width, height = terminal_size()
    whole = sys.stdout is None or not sys.stdout.isatty()
    return print_text(render(snapshot, width, number_from("LINES") if whole else height, colour()))
