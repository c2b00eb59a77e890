"""The palettes as Textual themes, so that dialogs wear the same colours as the main screen."""

from __future__ import annotations

from textual.theme import Theme

from memtop.tui.palette import Palette
from memtop.tui.palettes import PALETTES

DEFAULT = "dark"


def themes() -> list[Theme]:
    """One Textual theme for each palette, of the same name."""
    return [_ansi(palette) if palette.name == "ansi" else _theme(palette) for palette in PALETTES.values()]


def _colour(palette: Palette, role: str) -> str:
    style = palette[role]
    return style.color.name if style.color is not None else palette.inks[0]


def _theme(palette: Palette) -> Theme:
    return Theme(
        name=palette.name,
        primary=_colour(palette, "accent"),
        secondary=_colour(palette, "meter"),
        warning=_colour(palette, "warn"),
        error=_colour(palette, "bad"),
        success=_colour(palette, "good"),
        accent=_colour(palette, "accent"),
        foreground=_colour(palette, "text"),
        background=palette.background,
        surface=palette.surface,
        panel=palette.surface,
        dark=palette.dark,
        variables={"scrollbar": _colour(palette, "border"), "scrollbar-background": palette.background},
    )


def _ansi(palette: Palette) -> Theme:
    return Theme(
        name=palette.name,
        ansi=True,
        primary="ansi_cyan",
        secondary="ansi_cyan",
        warning="ansi_yellow",
        error="ansi_red",
        success="ansi_green",
        accent="ansi_cyan",
        foreground="ansi_default",
        background="ansi_default",
        surface="ansi_default",
        panel="ansi_default",
        boost="ansi_default",
        variables={
            "ansi-background": "ansi_black",
            "ansi-foreground": "ansi_white",
            "block-cursor-foreground": "ansi_black",
            "block-cursor-background": "ansi_cyan",
            "input-cursor-background": "ansi_white",
            "input-cursor-foreground": "ansi_black",
        },
    )
