"""Strings from a target are hostile: they may hold terminal escapes, bidirectional overrides or markup."""

from __future__ import annotations

import re
from typing import Any, Final

_ESCAPES: Final = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC, DCS, SOS, PM, APC: titles, clipboards, images
    r"|\x1b[ -/]*[0-~]?"
)
CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")

_DEEPEST: Final = 8
"""How far lists and mappings of a target's data may be nested."""


def harmless(text: str, limit: int = 2000) -> str:
    """`text` without escape sequences and control characters, tabs as spaces, cut to `limit` characters.

    A carriage return keeps what stands after the last one, as a terminal would show it.
    """
    head = text.rstrip("\r\n")
    if "\r" in head:
        head = head.rsplit("\r", 1)[1]
    head = _ESCAPES.sub("", head[: limit * 4]).expandtabs(4)
    head = CONTROL.sub("", head)
    return head if len(head) <= limit else head[: limit - 1] + "…"


def one_line(text: str, limit: int = 200) -> str:
    """`harmless`, and what was on several lines on one: for a cell of a table."""
    return " ".join(harmless(text, limit).split())


def harmless_data(value: Any, depth: int = _DEEPEST) -> Any:
    """A decoded JSON value with every string in it harmless, names of keys too; what is nested deeper is `None`."""
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, (dict, list)) and not depth:
        return None
    if isinstance(value, dict):
        return {harmless(str(key), 200): harmless_data(item, depth - 1) for key, item in value.items()}
    return [harmless_data(item, depth - 1) for item in value] if isinstance(value, list) else value
