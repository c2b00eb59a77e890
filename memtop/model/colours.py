"""One colour and one letter a category, the same in the terminal, the report and every legend. Pure data.

The tensor categories wear the colours of Okabe and Ito, told apart by colour-blind eyes; what surrounds them is
quiet slate. Each category also has a letter, which is all there is without colour.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

LETTERS: Final[Mapping[str, str]] = {
    "parameters": "P",
    "buffers": "B",
    "gradients": "G",
    "optimizer_state": "O",
    "inputs": "I",
    "activations": "A",
    "temporaries": "T",
    "other_tensors": "U",
    "rounding": "r",
    "pending_free": "p",
    "cached": "c",
    "context": "x",
    "runtime": "R",
    "unbacked": "u",
    "other_processes": "o",
    "free": "·",
    "gap": "·",
}
"""One letter a category: upper case for tensors and the runtime. `gap` is what lies below the highest."""

NAMES: Final[Mapping[str, str]] = {
    "optimizer_state": "optimizer state",
    "other_tensors": "other tensors",
    "pending_free": "pending free",
    "other_processes": "other processes",
    "gap": "below the highest",
}
"""Categories whose words on screen differ from their names in the log."""


def title(category: str) -> str:
    """A category's words on screen."""
    return NAMES.get(category, category)


DARK: Final[Mapping[str, str]] = {
    "parameters": "#3d8fd1",
    "buffers": "#7cc7f0",
    "gradients": "#1fa37d",
    "optimizer_state": "#cc79a7",
    "inputs": "#f0e442",
    "activations": "#e0701a",
    "temporaries": "#e8a93a",
    "other_tensors": "#b8b8a8",
    "rounding": "#7d8590",
    "pending_free": "#a3adb8",
    "cached": "#5b6b86",
    "context": "#6a5d80",
    "runtime": "#54708a",
    "unbacked": "#7d8590",
    "other_processes": "#3a424d",
    "free": "#191f27",
    "gap": "#191f27",
    "gap_ink": "#6b7580",
}
"""Fill colour by category on a dark ground; `<category>_ink` where its text and thin lines need another one."""

LIGHT: Final[Mapping[str, str]] = {
    "parameters": "#0072b2",
    "buffers": "#56b4e9",
    "gradients": "#009e73",
    "optimizer_state": "#cc79a7",
    "inputs": "#e3d222",
    "activations": "#d55e00",
    "temporaries": "#e69f00",
    "other_tensors": "#6e6e5e",
    "rounding": "#8c959f",
    "pending_free": "#6e7781",
    "cached": "#8fa0bd",
    "context": "#a193b8",
    "runtime": "#88a3bb",
    "unbacked": "#8c959f",
    "other_processes": "#bcc4cd",
    "free": "#eaeef2",
    "gap": "#eaeef2",
    "gap_ink": "#6e7781",
    "buffers_ink": "#2b86bd",
    "inputs_ink": "#8f8200",
    "temporaries_ink": "#a87200",
    "other_processes_ink": "#8c959f",
}
"""The same on a light ground."""
