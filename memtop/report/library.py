"""The plotting library, which may not be installed."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

Spec = dict[str, Any]
"""A Vega-Lite specification."""
INSTALL: Final = "pip install 'torch-memtop[report]'"
_SCALE: Final = 2.0
"""Pixels of a PNG for each of the picture's own."""


class MissingLibraryError(Exception):
    """The extra is not installed."""

    message = "a report needs the plotting library vl-convert-python, which is not installed"
    remedy = INSTALL


def library() -> Any:
    """The module. Raises `MissingLibraryError`."""
    try:
        import vl_convert
    except ImportError as error:
        raise MissingLibraryError from error
    return vl_convert


def svg(spec: Spec) -> str:
    """The chart as an SVG element."""
    text: str = library().vegalite_to_svg(spec)
    return text


def png(spec: Spec) -> bytes:
    """The chart as a PNG file."""
    data: bytes = library().vegalite_to_png(spec, scale=_SCALE)
    return data


@lru_cache(maxsize=1)
def script() -> str:
    """Vega, Vega-Lite and vega-embed in one script without requests, which leaves `vegaEmbed` on `window`."""
    text: str = library().javascript_bundle("window.vegaEmbed = vegaEmbed;")
    if "</script" in text.lower():
        raise ValueError("the plotting library's script can't stand in a page")
    return text
