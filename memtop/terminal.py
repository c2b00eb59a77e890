"""What our stdout is, and printing on it without a traceback when its reader leaves."""

from __future__ import annotations

import os
import sys
from typing import Any, Final

import click

SIGPIPE_STATUS: Final = 141
"""What a shell reports of a writer whose reader has gone."""


def print_json(value: Any) -> int:
    """See `print_text`."""
    import json

    return print_text(json.dumps(value, indent=2, ensure_ascii=False))


def print_text(text: str) -> int:
    """Print on stdout: 0, or 141 and quiet where its reader has gone."""
    try:
        click.echo(text.rstrip("\n"))
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # What is left in the buffer must not fail once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return SIGPIPE_STATUS
    return 0


def terminal_size() -> tuple[int, int]:
    """Columns and lines: as COLUMNS and LINES say, of whichever of our streams is a terminal, or 80 x 24."""
    columns, lines = 80, 24
    for stream in (1, 2, 0):
        try:
            columns, lines = os.get_terminal_size(stream)
            break
        except OSError:
            continue
    return number_from("COLUMNS") or columns or 80, number_from("LINES") or lines or 24


def number_from(name: str) -> int | None:
    """A whole number in the environment, such as LINES."""
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else None


def colour() -> bool:
    """Whether stdout is a terminal that is to have colours (NO_COLOR, TERM=dumb)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "") in ("", "dumb")
    return sys.stdout is not None and sys.stdout.isatty() and not plain
