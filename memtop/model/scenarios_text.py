"""What `memtop scenarios` prints. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any


def lines(scenarios: Sequence[Mapping[str, Any]], width: int = 100) -> list[str]:
    """Each scenario with its lesson, claims and settings, from `launcher.manifests.as_json`; no line above `width`."""
    text: list[str] = []
    for scenario in scenarios:
        text += [*([""] if text else []), *_wrap(f"{scenario['name']}: {scenario['title']}", width, "")]
        text += _wrap(scenario["lesson"], width, "  ")
        for claim in scenario["claims"]:
            text += _wrap(f"· {claim}", width, "  ", "    ")
        for setting in scenario["settings"]:
            text += _wrap(_setting(setting), width, "    ", "        ")
    return text


def _setting(setting: Mapping[str, Any]) -> str:
    offered = [*map(_word, setting["choices"]), *setting.get("patterns", ())]
    values = " | ".join(offered) if offered else setting["type"]
    default = "" if setting["default"] in ("", None) else f" [default: {_word(setting['default'])}]"
    return f"{setting['name']} = {values}{default}  {setting['title']}"


def _word(value: object) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _wrap(text: str, width: int, indent: str, more: str | None = None) -> list[str]:
    after = indent if more is None else more
    return textwrap.wrap(text, max(width, 20), initial_indent=indent, subsequent_indent=after, break_on_hyphens=False)
