"""What `memtop doctor` found: named checks, one line and a remedy each, as text and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any, Final, Literal

import msgspec

from memtop.model.text import harmless

Status = Literal["ok", "warning", "error"]

VERSION: Final = 1
"""Version of the JSON."""

_COLOURS: Final[dict[str, str]] = {"ok": "32", "warning": "33", "error": "1;31"}
"""SGR codes: green, yellow, bold red. The word stands there too."""

_STATUS: Final = 9
_NAME: Final = 15


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A check's answer."""

    status: Status
    message: str
    """One line for a person."""
    remedy: str | None = None
    """What to do about it, or `None` where nothing has to be done."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A named check and its answer."""

    name: str
    status: Status
    message: str
    remedy: str | None
    seconds: float
    """How long the answer took."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All checks, in the order of reading."""

    checks: tuple[Check, ...]

    @property
    def exit_code(self) -> int:
        """0 with warnings at most; 1 where an error keeps memtop from running a scenario."""
        return int(any(check.status == "error" for check in self.checks))

    def as_json(self) -> dict[str, Any]:
        """JSON values: `{"v": 1, "exit_code": 0, "checks": [...]}`, times in seconds."""
        return {"v": VERSION, "exit_code": self.exit_code, "checks": msgspec.to_builtins(self.checks)}

    def as_text(self, width: int = 80, colour: bool = False) -> str:
        """Lines no wider than `width`; `colour` adds SGR colours to the words of the first column."""
        lines = [line for check in self.checks for line in _lines(check, max(width, 40), colour)]
        return "\n".join([*lines, "", self.summary])

    @property
    def summary(self) -> str:
        """The last line."""
        counts = {status: sum(check.status == status for check in self.checks) for status in _COLOURS}
        parts = [f"{counts['ok']} ok", _plural(counts["warning"], "warning"), _plural(counts["error"], "error")]
        return f"{_plural(len(self.checks), 'check')}: {', '.join(parts)}"


def _plural(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _lines(check: Check, width: int, colour: bool) -> Iterator[str]:
    """The message beside the name, the remedy below it."""
    indent = " " * (_STATUS + _NAME)
    first, *more = textwrap.wrap(harmless(check.message), width - len(indent), break_on_hyphens=False) or [""]
    status = f"{check.status:<{_STATUS}}"
    if colour:
        status = f"\x1b[{_COLOURS[check.status]}m{status}\x1b[0m"
    yield f"{status}{check.name:<{_NAME}}{first}"
    yield from (indent + line for line in more)
    if check.remedy:
        remedy = textwrap.wrap(harmless(check.remedy), width - len(indent) - 3, break_on_hyphens=False)
        yield from (f"{indent}{'-> ' if index == 0 else '   '}{line}" for index, line in enumerate(remedy))


def ok(message: str) -> Finding:
    """All is well."""
    return Finding(status="ok", message=message)


def warning(message: str, remedy: str | None = None) -> Finding:
    """Something works less well, or is not there."""
    return Finding(status="warning", message=message, remedy=remedy)


def error(message: str, remedy: str | None = None) -> Finding:
    """memtop can't run a scenario."""
    return Finding(status="error", message=message, remedy=remedy)
