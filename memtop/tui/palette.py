"""What colours are for: one per category, the same in bar, table, graph and legend. Pure data; no Textual in here.

The tensor categories wear the colours of Okabe and Ito, told apart by colour-blind eyes; what surrounds them is
quiet slate. Each category also has a letter, which is all there is without colour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.color import Color
from rich.style import Style

from memtop.model.colours import LETTERS as LETTERS
from memtop.model.colours import title as english
from memtop.model.i18n import _


def title(category: str) -> str:
    """A category's words on screen."""
    return _(english(category))


@dataclass(frozen=True, slots=True)
class Palette:
    """One theme: a style for each role and a fill colour for each category."""

    name: str
    dark: bool
    roles: Mapping[str, Style]
    fills: Mapping[str, str]
    """Fill colour by category; `<category>_ink` where its text and thin lines need another one to be read."""
    inks: tuple[str, str]
    """Text colours for dark and for light fills."""
    background: str
    surface: str
    mono: bool = False
    """No colour at all: bars are made of letters."""
    _cache: dict[tuple[str, str, str], Style] = field(default_factory=dict, repr=False, compare=False)

    def __getitem__(self, role: str) -> Style:
        return self.roles[role]

    def ink(self, category: str) -> Style:
        """A category's colour as text: sparklines and marks."""
        return self._cached("ink", category, "")

    def fill(self, category: str) -> Style:
        """A category's colour as ground, with a text colour that can be read on it."""
        return self._cached("fill", category, "")

    def edge(self, left: str, right: str) -> Style:
        """Two categories in one cell: the first as the glyph's colour, the second as its ground."""
        return self._cached("edge", left, right)

    def _cached(self, kind: str, first: str, second: str) -> Style:
        key = (kind, first, second)
        style = self._cache.get(key)
        if style is None:
            style = self._cache[key] = self._make(kind, first, second)
        return style

    def _make(self, kind: str, first: str, second: str) -> Style:
        if self.mono:
            return Style.null()
        colour = self.fills[first]
        if kind == "ink":
            first = "gap" if first == "free" else first
            return Style(color=self.fills.get(f"{first}_ink", colour))
        if kind == "edge":
            return Style(color=colour, bgcolor=self.fills[second])
        return Style(color=self._readable(colour, first), bgcolor=colour)

    def _readable(self, colour: str, category: str) -> str:
        if category in ("free", "gap"):
            return self.fills["gap_ink"]
        triplet = Color.parse(colour).get_truecolor()
        bright = 0.299 * triplet.red + 0.587 * triplet.green + 0.114 * triplet.blue
        return self.inks[1] if bright > 125 else self.inks[0]
