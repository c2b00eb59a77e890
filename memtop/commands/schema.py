"""`memtop schema`."""

from __future__ import annotations

import click

from memtop.terminal import print_json


@click.command("schema")
def command() -> int:
    """The JSON Schema of a log's lines."""
    from memtop.sinks.schema import log_schema

    return print_json(log_schema())
