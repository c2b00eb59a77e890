"""Strings from a target are hostile: they may hold terminal escapes, bidirectional overrides or markup."""

from __future__ import annotations

import re
from typing import Final

_ESCAPES: Final = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC, DCS, SOS, PM, APC: titles, clipboards, images
    r"|\x1b[ -/]*[0-~]?"
)
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def harmless(text: str, limit: int = 2000) -> str:
    """`text` without escape sequences and control characters, tabs as spaces, cut to `limit` characters.

    A carriage return keeps what stands after the last one, as a terminal would show it.
    """
    head = text.rstrip("\r\n")
    if "\r" in head:
        head = head.rsplit("\r", 1)[1]
    head = _ESCAPES.sub("", head[: limit * 4]).expandtabs(4)
    head = _CONTROL.sub("", head)
    return head if len(head) <= limit else head[: limit - 1] + "…"
