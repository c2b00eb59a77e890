"""Figures and a small picture from the copy of a few samples. On the CPU, of bounded size, between two steps."""

from __future__ import annotations

import base64
import math
from typing import Any

import torch

from .guess import planes

_SIDE = 64
"""Pixels of a picture's longer side, at most."""
_PIXELS = 12_288
"""Bytes of all pictures of a record, at most: 64 × 64 in colour."""
_PICTURES = 16
_BINS = 24
_HISTOGRAM = 16_384
"""Values that a histogram is made of, at most."""
_ROWS = 8
_IDS = 32
"""Values told of a sample, at most."""
_COLUMNS = 24

_WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
"""Integers that torch compares as they are; of the others it knows little more than how to turn them into these."""

Told = dict[str, Any]


def facts(values: Any, told: Told) -> Told:
    """Range, mean, histogram, first values and columns of the copied samples; unknown where nothing was copied.

    Complex values are taken by their magnitude. What is not finite is counted and is in no other figure.
    """
    found: Told = {
        "looked": 0, "low": None, "high": None, "mean": None, "nonfinite": 0,
        "histogram": [], "first": [], "distinct": None, "columns": [],
    }  # fmt: skip
    if values is None or not values.numel():
        return found
    plain = _plain(values)
    flat = plain.reshape(-1)
    finite = flat[torch.isfinite(flat)]
    found |= {"looked": flat.numel(), "nonfinite": flat.numel() - finite.numel()}
    if finite.numel():
        low, high = (float(one) for one in torch.aminmax(finite))
        mean = float(torch.mean(finite, dtype=torch.float64))
        found |= {"low": low, "high": high, "mean": _told(mean), "histogram": _histogram(finite, low, high)}
    if told["kind"] in ("labels", "tokens", "table"):
        found["first"] = [[_told(one) for one in row] for row in _rows(plain).tolist()]
    if told["kind"] == "tokens" or (told["kind"] == "labels" and not values.dtype.is_floating_point):
        found["distinct"] = int(torch.unique(flat).numel())
    if told["kind"] == "table":
        found["columns"] = [_column(plain[:, place]) for place in range(min(_COLUMNS, plain.shape[1]))]
    return found


def _rows(plain: Any) -> Any:
    """The beginning of the first samples, a row each."""
    return plain[:_PICTURES].reshape(-1, 1) if plain.dim() < 2 else plain[:_ROWS, :_IDS]


def _plain(values: Any) -> Any:
    """Values that can be compared: integers, 32-bit or 64-bit floats."""
    if values.is_complex():
        return values.resolve_conj().abs().float()
    if values.dtype is torch.bool:
        return values.to(torch.uint8)
    if values.dtype.is_floating_point:
        return values if values.dtype in (torch.float32, torch.float64) else values.float()
    return values if values.dtype in _WHOLE else values.to(torch.int64)


def _histogram(finite: Any, low: float, high: float) -> list[int]:
    """How many of the values fall into each of equal parts of their range."""
    some = finite[:: -(-finite.numel() // _HISTOGRAM)].double().tolist()
    counts, scale = [0] * _BINS, _BINS / (high - low) if high > low else 0.0
    for one in some:
        counts[min(_BINS - 1, int((one - low) * scale))] += 1
    return counts


def _column(values: Any) -> Told:
    finite = values[torch.isfinite(values)].double()
    if not finite.numel():
        return {"low": None, "mean": None, "high": None}
    low, high = torch.aminmax(finite)
    return {"low": float(low), "mean": _told(float(finite.mean())), "high": float(high)}


def _told(value: float) -> float | None:
    """JSON has no word for NaN and infinity."""
    return value if math.isfinite(value) else None


def picture(values: Any, told: Told) -> Told:
    """The first samples as small pictures of 8 bits: `pixels` base64, row by row, channels together.

    `black` and `white` are the values that 0 and 255 stand for: 0 and 255 of bytes, 0 and 1 where all lies between
    them, else the lowest and the highest of the samples. More than four channels, or two: the first one alone.
    """
    shape = (values.shape[0], *told["shape"][1:]) if told["layout"] == "flat" else tuple(values.shape)
    channels, height, width = planes(shape, told["layout"])
    images = _plain(values).reshape(shape[0], channels, height, width) if told["layout"] in ("flat", "HW", "CHW") else (
        _plain(values).permute(0, 3, 1, 2)
    )  # fmt: skip
    images = images[:, : 3 if channels in (3, 4) else 1]
    step = max(1, -(-max(height, width) // _SIDE))
    images = images[:, :, ::step, ::step]
    _, kept, rows, columns = images.shape
    most = max(1, min(_PICTURES, _PIXELS // (kept * rows * columns)))
    black, white = _ends(told)
    scaled = (images[:most].double() - black) * (255 / (white - black))
    bytes_ = scaled.nan_to_num(0, 255, 0).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    pixels = [base64.b64encode(bytes(one.reshape(-1).tolist())).decode() for one in bytes_]
    return {"width": columns, "height": rows, "channels": kept, "black": black, "white": white, "pixels": pixels}


def _ends(told: Told) -> tuple[float, float]:
    low, high = told["low"], told["high"]
    if low is None or high is None:
        return 0.0, 1.0
    if told["dtype"] == "uint8":
        return 0.0, 255.0
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return (low, high) if high > low else (low - 1, low + 1)
