"""`memtop attach`."""

from __future__ import annotations

from typing import Any

import click

from memtop.commands.watching import common, mode_of, said, show, watching
from memtop.usage import Refused


@click.command("attach")
@watching
@click.argument("pid", type=click.IntRange(min=1))
def command(*, pid: int, **given: Any) -> int:
    """Any running process, from outside: memory of its tree, load, growth.

    Without categories, for memtop is not inside it. It ends when the process does.
    """
    from memtop.launcher.target import LaunchError
    from memtop.session import Options
    from memtop.session.view import around

    if given["steps"] is not None:
        raise Refused("--steps can't be counted from outside", "use --duration")
    mode = mode_of(given)
    options = Options(attach=pid, **common(given, mode))
    with said(LaunchError):
        around(options)  # Before a screen is drawn over the words.
    return show(mode, options)
