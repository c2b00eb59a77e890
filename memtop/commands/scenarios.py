"""`memtop scenarios`."""

from __future__ import annotations

import click

from memtop.commands.watching import said
from memtop.terminal import print_json, print_text, terminal_size


@click.command("scenarios")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(as_json: bool) -> int:
    """The built-in trainings, what each teaches, and their settings."""
    from memtop.launcher import manifests
    from memtop.model import scenarios_text

    with said(manifests.ManifestError):
        found = manifests.as_json()
    if as_json:
        return print_json(found)
    return print_text("\n".join(scenarios_text.lines(found, terminal_size()[0])))
