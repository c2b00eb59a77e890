"""Checks of what the screen is drawn on: terminal, colours, encoding, locale."""

from __future__ import annotations

import codecs
import locale
import os
import sys
from collections.abc import Mapping

from memtop.doctor.report import Finding, ok, warning


def terminal(env: Mapping[str, str]) -> Finding:
    """Whether there is a terminal and whether it is large enough."""
    size = _size()
    if size is None:
        return warning("no terminal here", "the live screen needs one; --headless and --once do not")
    columns, rows = size
    kind = env.get("TERM", "")
    text = f"{columns}x{rows}, TERM={kind or '(unset)'}"
    if kind in ("", "dumb", "unknown"):
        return warning(f"{text}: it can't place the cursor", "export TERM=xterm-256color, or use --headless")
    if columns < 40 or rows < 10:
        return warning(f"{text}: room for one bar only", "enlarge it to 80x24 or more")
    if columns < 80 or rows < 24:
        return warning(f"{text}: some columns are left out", "enlarge it to 80x24 or more")
    return ok(text)


def _size() -> tuple[int, int] | None:
    """Columns and rows of the first of stdout, stderr, stdin that is a terminal."""
    for stream in (sys.__stdout__, sys.__stderr__, sys.__stdin__):
        try:
            if stream is not None and stream.isatty():
                size = os.get_terminal_size(stream.fileno())
                return size.columns, size.lines
        except (OSError, ValueError):
            continue
    return None


def colours(env: Mapping[str, str]) -> Finding:
    """How many colours the screen will use: by the same signs as the library that draws it."""
    kind = env.get("TERM", "")
    if env.get("NO_COLOR"):
        return ok("NO_COLOR is set: letters and patterns tell the categories apart")
    if kind in ("", "dumb", "unknown"):
        return warning(f"none (TERM={kind or '(unset)'})", "export TERM=xterm-256color if the terminal has colours")
    if env.get("COLORTERM", "").strip().lower() in ("truecolor", "24bit"):
        return ok("16 million (COLORTERM)")
    if kind.endswith(("-256color", "-kitty")):
        return ok(f"256 (TERM={kind}); export COLORTERM=truecolor if the terminal has more")
    return ok(f"16 (TERM={kind}); export TERM=xterm-256color if the terminal has more")


def encoding(stdout: str | None) -> Finding:
    """Whether blocks and lines can be written: `stdout` is the encoding of our own."""
    remedy = "export LC_ALL=C.UTF-8 or PYTHONUTF8=1"
    try:
        name = codecs.lookup(stdout or "ascii").name
    except LookupError:
        return warning(f"unknown encoding {stdout}", remedy)
    if name in ("utf-8", "utf-16", "utf-32"):
        return ok(name.upper())
    return warning(f"{name}: bars and lines are drawn with plain letters", remedy)


def language(env: Mapping[str, str], in_force: str | None = None) -> Finding:
    """Whether the locale that is asked for is installed; Python took it at its start, or `C` where it could not."""
    wanted = env.get("LC_ALL") or env.get("LC_CTYPE") or env.get("LANG") or "C"
    found = in_force if in_force is not None else locale.setlocale(locale.LC_CTYPE)
    if found in ("C", "POSIX") and wanted.partition(".")[0] not in ("C", "POSIX"):
        return warning(f"{wanted} is not installed: {found} is in force", "export LC_ALL=C.UTF-8")
    return ok(found)
