"""The parts that the charts are made of, in Vega-Lite."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from math import ceil, log2, log10
from typing import Any, Final, Literal

from memtop.model import units
from memtop.report.colours import Paint, fill, ground
from memtop.report.library import Spec

WIDTH: Final = 960
"""Of a picture, and of what stands in the page until its script has run."""
_FONT: Final = "system-ui, 'Segoe UI', 'Liberation Sans', Arial, sans-serif"
_ROOM: Final = 0.06
"""Part of a step that a phase must have for its name."""
Shape = Literal["step-after", "linear"]
_KINDS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
WORDS: Final = "replace(datum.label, /_/g, ' ')"
"""A category's name in words. No string of a log ever stands in an expression."""


def areas(rows: Sequence[Mapping[str, Any]], names: Sequence[str], paint: Paint, shape: Shape, title: str) -> Spec:
    """Categories stacked in their order, parameters at the bottom; what is below zero hangs below it.

    Stacked here, not by the library, which would pile points of equal time upon one another.
    """
    legend = {"orient": "top", "title": None, "labelExpr": WORDS, "symbolType": "square", "columns": 8}
    return {
        "data": {"values": _bends(rows, names) if shape == "step-after" else _stacks(rows, names)},
        "mark": {"type": "area", "interpolate": shape, "opacity": 1},
        "encoding": {
            "x": {"field": "x", "type": "quantitative", "title": title, "scale": {"nice": False}},
            "y": {"field": "low", "type": "quantitative", **bytes_axis([row["sum"] * 17 // 16 for row in rows])},
            "y2": {"field": "high"},
            "color": {"field": "category", "type": "nominal", "scale": scale(names, paint), "legend": legend},
        },
    }


def _stacks(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    return [part for row in rows for part in _stacked(row, names)]


def _bends(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Of a stair only where it has a step, and its ends: it looks the same and takes a fraction of the room."""
    held: dict[str, tuple[int, int]] = {}
    found = []
    for row in rows:
        for part in _stacked(row, names):
            level = (part["low"], part["high"])
            if row is rows[-1] or held.get(part["category"]) != level:
                held[part["category"]] = level
                found.append(part)
    return found


def _stacked(row: Mapping[str, Any], names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Where each category's bytes begin and end at one point."""
    above = below = 0
    for name in names:
        value = row.get(name) or 0
        low, high = (above, above + value) if value >= 0 else (below + value, below)
        above, below = max(above, high), min(below, low)
        yield {"x": row["x"], "category": name, "low": low, "high": high}


def phases(marks: Sequence[tuple[float, str]], end: float, paint: Paint) -> list[Spec]:
    """Where the phases of the step begin; those too short for their name stand without it."""
    ends = [*(at for at, _ in marks[1:]), end]
    data = [
        {"x": at, "phase": name if until - at > _ROOM * end else ""}
        for (at, name), until in zip(marks, ends, strict=True)
    ]
    x = {"field": "x", "type": "quantitative"}
    rule = {"type": "rule", "color": ground("dim", paint), "strokeDash": [3, 3]}
    text = {"type": "text", "align": "left", "baseline": "top", "dx": 4, "y": 2, "color": ground("ink", paint)}
    return [
        {"data": {"values": data}, "mark": rule, "encoding": {"x": x}},
        {"data": {"values": data}, "mark": text, "encoding": {"x": x, "text": {"field": "phase"}}},
    ]


def summits(tops: Sequence[Mapping[str, Any]], paint: Paint) -> Spec:
    """The highest instants."""
    mark = {"type": "point", "shape": "triangle-down", "filled": True, "size": 70, "yOffset": -7, "opacity": 1}
    tip = [{"field": "sum", "type": "quantitative", "title": "highest, bytes", "format": ","}]
    x, y = {"field": "x", "type": "quantitative"}, {"field": "sum", "type": "quantitative"}
    return {
        "data": {"values": [{"x": top["x"], "sum": top["sum"]} for top in tops]},
        "mark": {**mark, "color": ground("ink", paint)},
        "encoding": {"x": x, "y": y, "tooltip": tip},
    }


def hover(
    rows: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    paint: Paint,
    unit: str,
    shape: Shape,
    more: Sequence[str] = (),
) -> Spec:
    """A strip a point that, under the pointer, tells every category's bytes, whole; what is not known is a dash."""
    columns = [*names, "sum"]
    texts = [
        {"x": left, "right": right, "at": f"{row['x']:,.3f} {unit}"}
        | {name: str(row[name]) for name in more}
        | {name: units.UNKNOWN if row.get(name) is None else f"{row[name]:,}" for name in columns}
        for row, (left, right) in zip(rows, _strips([row["x"] for row in rows], shape), strict=True)
        if right > left
    ]
    tip = [{"field": "at", "title": "at"}, *({"field": name, "title": name} for name in more)]
    tip += [{"field": name, "title": name.replace("_", " ")} for name in names]
    tip.append({"field": "sum", "title": "all tensors, bytes"})
    tip = [{**one, "type": "nominal"} for one in tip]
    select = {"type": "point", "on": "pointerover", "clear": "pointerout"}
    opacity = {"condition": {"param": "under", "empty": False, "value": 0.25}, "value": 0}
    x = {"field": "x", "type": "quantitative"}
    return {
        "data": {"values": texts},
        "params": [{"name": "under", "select": select}],
        "mark": {"type": "rect", "color": ground("ink", paint)},
        "encoding": {"x": x, "x2": {"field": "right"}, "opacity": opacity, "tooltip": tip},
    }


def _strips(at: Sequence[float], shape: Shape) -> list[tuple[float, float]]:
    """From where to where each point speaks: up to the next one, or half the way to its neighbours."""
    if shape == "step-after":
        return list(zip(at, [*at[1:], *at[-1:]], strict=True))
    edges = [*at[:1], *((one + other) / 2 for one, other in itertools.pairwise(at)), *at[-1:]]
    return list(itertools.pairwise(edges))


def scale(names: Sequence[str], paint: Paint) -> Spec:
    return {"domain": list(names), "range": [fill(name, paint) for name in names]}


def bytes_axis(values: Sequence[int]) -> Spec:
    """An axis of bytes with round binary ticks."""
    low, high = min(0, min(values, default=0)), max(0, max(values, default=0))
    span = max(1, high - low)
    power = min(len(_KINDS) - 1, max(0, int(log2(span) // 10)))
    unit = 1024**power
    step = _round_step(span / unit / 5) * unit
    ticks = [round(step * place) for place in range(int(low // step), ceil(high / step) + 1)]
    label = f"format(datum.value / {unit}, '~g')"
    axis = {"values": ticks, "labelExpr": label, "title": _KINDS[power]}
    return {"axis": axis, "scale": {"domain": [ticks[0], ticks[-1]], "nice": False}}


def _round_step(raw: float) -> float:
    """The least of 1, 2, 5 times a power of ten that is not below `raw`."""
    power = 10.0 ** ceil(log10(raw) - 1) if raw > 0 else 1.0
    return next((power * one for one in (1, 2, 5, 10) if power * one >= raw), power * 10)


def spec(layers: list[Spec], paint: Paint, live: bool, height: int, rows: Sequence[Mapping[str, Any]] = ()) -> Spec:
    """The whole chart. `live`: as wide as what holds it; `rows`: for layers without data of their own."""
    ink, dim, line = (ground(role, paint) for role in ("ink", "dim", "line"))
    axis = {"labelColor": dim, "titleColor": dim, "domainColor": line, "tickColor": line, "gridColor": line}
    font = {"labelFontSize": 12, "titleFontSize": 12, "labelFont": _FONT, "titleFont": _FONT, "titleFontWeight": 400}
    return {
        "width": "container" if live else WIDTH - 80,
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"} if live else {"type": "pad"},
        "background": "transparent" if paint == "page" else ground("paper", paint),
        "data": {"values": list(rows)},
        "layer": layers,
        "config": {
            "axis": {**axis, **font, "gridOpacity": 0.6},
            "legend": {"labelColor": ink, "labelFont": _FONT, "labelFontSize": 12, "labelLimit": 200},
            "text": {"font": _FONT, "fontSize": 12},
            "view": {"stroke": None},
        },
    }
