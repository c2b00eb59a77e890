"""What charts are painted with: the terminal's colours, as values for a picture or as CSS variables for the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from memtop.model.categories import ALL
from memtop.model.colours import DARK, LIGHT

Paint = Literal["page", "light", "dark"]
"""`page`: CSS variables, so that the reader's theme and the printer decide."""

GROUND: Final[Mapping[str, Mapping[str, str]]] = {
    "light": {"ink": "#24292f", "dim": "#57606a", "line": "#d0d7de", "paper": "#ffffff", "panel": "#f6f8fa"}
    | {"accent": "#0072b2", "bad": "#b3261e", "warn": "#8a6100"},
    "dark": {"ink": "#c9d1d9", "dim": "#8b949e", "line": "#30363d", "paper": "#0d1117", "panel": "#161b22"}
    | {"accent": "#56b4e9", "bad": "#ff6b57", "warn": "#f0c040"},
}
"""Everything that is no category."""
_FILLS: Final = {"light": LIGHT, "dark": DARK}
_UNKNOWN: Final = {"light": "#c4c4b8", "dark": "#85857a"}
"""A category that this version does not know."""


def fill(category: str, paint: Paint) -> str:
    """A category's colour."""
    if paint == "page":
        return f"var(--c-{category})" if category in ALL else "var(--c-unknown)"
    return _FILLS[paint].get(category, _UNKNOWN[paint])


def ground(role: str, paint: Paint) -> str:
    """The colour of a role of `GROUND`."""
    return f"var(--{role})" if paint == "page" else GROUND[paint][role]


def variables(theme: Literal["light", "dark"]) -> str:
    """All of it as CSS declarations."""
    pairs = [(f"--{role}", colour) for role, colour in GROUND[theme].items()]
    pairs += [(f"--c-{name}", _FILLS[theme][name]) for name in ALL]
    pairs.append(("--c-unknown", _UNKNOWN[theme]))
    return "".join(f"{name}:{colour};" for name, colour in pairs)
