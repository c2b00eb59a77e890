"""`memtop completion`."""

from __future__ import annotations

import click

from memtop.terminal import print_text


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> int:
    """A script for bash, zsh or fish that completes memtop's words."""
    from memtop import completion as shells

    return print_text(shells.script(shell, ctx.find_root().command))
