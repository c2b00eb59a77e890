"""The themes: dark, light, high contrast, the terminal's own 16 colours, and none at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rich.style import Style

from memtop.model.colours import DARK, LIGHT
from memtop.tui.palette import Palette


def _roles(**colours: str) -> dict[str, Style]:
    """Roles from rich style words, with those that every theme derives in the same way."""
    roles = {name: Style.parse(words) for name, words in colours.items()}
    roles["plain"] = Style.null()
    return roles


_DARK: Final = Palette(
    "dark",
    True,
    _roles(
        text="#c9d1d9",
        strong="bold #f0f6fc",
        dim="#8b949e",
        faint="#59626d",
        border="#30363d",
        title="bold #c9d1d9",
        accent="#56b4e9",
        good="#2fbf8f",
        warn="#f0c040",
        bad="bold #ff6b57",
        key="bold #f0f6fc",
        key_text="#8b949e",
        key_off="#484f58",
        track="#21262d",
        meter="#56b4e9",
        brand="bold #0d1117 on #56b4e9",
        chip="bold #0d1117 on #e69f00",
        error="bold #ffffff on #b3261e",
        warning="bold #14100a on #e6b422",
        information="bold #0d1117 on #56b4e9",
    ),
    DARK,
    ("#ffffff", "#0d1117"),
    "#0d1117",
    "#161b22",
)

_LIGHT: Final = Palette(
    "light",
    False,
    _roles(
        text="#24292f",
        strong="bold #0b0f14",
        dim="#57606a",
        faint="#8c959f",
        border="#d0d7de",
        title="bold #24292f",
        accent="#0072b2",
        good="#007a58",
        warn="#8a6100",
        bad="bold #b3261e",
        key="bold #0b0f14",
        key_text="#57606a",
        key_off="#b6bec7",
        track="#e4e8ec",
        meter="#0072b2",
        brand="bold #ffffff on #0072b2",
        chip="bold #ffffff on #a34a00",
        error="bold #ffffff on #b3261e",
        warning="bold #1c1500 on #f0c040",
        information="bold #ffffff on #0072b2",
    ),
    LIGHT,
    ("#ffffff", "#0d1117"),
    "#ffffff",
    "#f6f8fa",
)

_CONTRAST: Final = Palette(
    "high-contrast",
    True,
    _roles(
        text="#ffffff",
        strong="bold #ffffff",
        dim="#e0e0e0",
        faint="#bdbdbd",
        border="#9e9e9e",
        title="bold #ffffff",
        accent="#7fd4ff",
        good="#4dffb8",
        warn="#ffe14d",
        bad="bold #ff8a75",
        key="bold #ffe14d",
        key_text="#ffffff",
        key_off="#8f8f8f",
        track="#3a3a3a",
        meter="#7fd4ff",
        brand="bold #000000 on #ffe14d",
        chip="bold #000000 on #ffffff",
        error="bold #ffffff on #c00000",
        warning="bold #000000 on #ffe14d",
        information="bold #000000 on #7fd4ff",
    ),
    {
        "parameters": "#4aa8ff",
        "buffers": "#a8e4ff",
        "gradients": "#1fd69a",
        "optimizer_state": "#ff8fd0",
        "inputs": "#ffef3d",
        "activations": "#ff6a00",
        "temporaries": "#ffb52e",
        "other_tensors": "#ffffff",
        "rounding": "#9e9e9e",
        "pending_free": "#d0d0d0",
        "cached": "#7a8fc0",
        "context": "#a080d0",
        "runtime": "#7fa0c0",
        "unbacked": "#9e9e9e",
        "other_processes": "#5c5c5c",
        "free": "#1c1c1c",
        "gap": "#1c1c1c",
        "gap_ink": "#d0d0d0",
    },
    ("#ffffff", "#000000"),
    "#000000",
    "#101010",
)

_ANSI: Final = Palette(
    "ansi",
    True,
    _roles(
        text="default",
        strong="bold",
        dim="dim",
        faint="dim",
        border="dim",
        title="bold",
        accent="cyan",
        good="green",
        warn="yellow",
        bad="bold red",
        key="bold",
        key_text="default",
        key_off="dim",
        track="dim",
        meter="cyan",
        brand="bold black on cyan",
        chip="bold black on yellow",
        error="bold white on red",
        warning="bold black on yellow",
        information="bold black on cyan",
    ),
    {
        "parameters": "blue",
        "buffers": "bright_cyan",
        "gradients": "green",
        "optimizer_state": "magenta",
        "inputs": "bright_yellow",
        "activations": "red",
        "temporaries": "yellow",
        "other_tensors": "bright_white",
        "rounding": "bright_black",
        "pending_free": "bright_black",
        "cached": "bright_blue",
        "context": "bright_magenta",
        "runtime": "cyan",
        "unbacked": "bright_black",
        "other_processes": "white",
        "free": "default",
        "gap": "default",
        "gap_ink": "default",
    },
    ("bright_white", "black"),
    "ansi_default",
    "ansi_default",
)

MONO: Final = Palette(
    "mono",
    True,
    _roles(
        text="default",
        strong="bold",
        dim="dim",
        faint="dim",
        border="dim",
        title="bold",
        accent="default",
        good="default",
        warn="bold",
        bad="bold",
        key="bold",
        key_text="default",
        key_off="dim",
        track="dim",
        meter="default",
        brand="reverse",
        chip="reverse",
        error="bold reverse",
        warning="bold reverse",
        information="reverse",
    ),
    {},
    ("default", "default"),
    "ansi_default",
    "ansi_default",
    True,
)
"""No colour: NO_COLOR, pipes, paper."""

PALETTES: Final[Mapping[str, Palette]] = {palette.name: palette for palette in (_DARK, _LIGHT, _CONTRAST, _ANSI)}
"""The themes that a key walks through, in order."""
