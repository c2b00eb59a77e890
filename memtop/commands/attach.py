"""`memtop attach`."""

from __future__ import annotations

from typing import Any, Final

import click

from memtop.commands.watching import common, mode_of, said, show, watching

_FROM_INSIDE: Final[dict[str, Any]] = {"steps": None, "overhead": 0.0, "trace_steps": False}
"""What is not offered for a process that memtop is not inside of."""


@click.command("attach")
@watching
@click.argument("pid", type=click.IntRange(min=1))
def command(*, pid: int, **given: Any) -> int:
    """Any running process, from outside: memory, load, growth.

    Of its whole tree, and without categories, for memtop is not inside it. It ends when the process does.
    """
    from memtop.launcher.target import LaunchError
    from memtop.session import Options
    from memtop.session.view import around

    given = _FROM_INSIDE | given
    mode = mode_of(given)
    options = Options(attach=pid, **common(given, mode))
    with said(LaunchError):
        around(options)  # Before a screen is drawn over the words.
    return show(mode, options)


command.params = [param for param in command.params if param.name not in _FROM_INSIDE]
