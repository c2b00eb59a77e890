"""`memtop run`."""

from __future__ import annotations

from typing import Any

import click

from memtop.commands.watching import RUN, common, mode_of_command, option, python_at, said, show, watching
from memtop.usage import CommandWithWords, Refused


@click.command(
    "run",
    cls=CommandWithWords,
    context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True, "max_content_width": 100},
)
@option(
    "--python",
    section=RUN,
    metavar="PATH",
    type=click.Path(),
    help="The Python for a script or -m. [default: python on PATH]",
)
@watching
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="COMMAND...")
def command(*, words: tuple[str, ...], **given: Any) -> int:
    """Your own training, unmodified: a script, a module, a command.

    Everything after the command is the command's own.
    """
    if not words:
        raise Refused("there is no command", "as in memtop run train.py, or memtop run -- torchrun train.py")
    if words[0].startswith("-") and not words[0].startswith("-m"):
        raise Refused(f"no such option: {words[0]}", "memtop run --help has them; a command's come after the command")
    from memtop.launcher.command import resolved
    from memtop.launcher.target import LaunchError
    from memtop.session import Options

    mode = mode_of_command(given)
    with said(LaunchError):
        resolved_words = resolved(words, python_at(given["python"]))
    return show(mode, Options(command=resolved_words, steps=given["steps"], **common(given, mode)))
