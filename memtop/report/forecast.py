"""The newest forecast of a run, read off its record: everything in it is an estimate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from memtop.model import units
from memtop.model.logbook import Book

_POINTS: Final = 40


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """How many bytes a step takes at a batch size: the highest of some affine functions."""

    device: str
    lines: tuple[tuple[str, int, int], ...]
    """Phase, bytes at batch 0, bytes a sample."""
    max_batch: int | None
    limit: int | None
    error: int | None
    """Bytes it may be off."""
    basis: str

    def at(self, batch: int) -> int:
        """Bytes at a batch size."""
        return max((fixed + slope * batch for _, fixed, slope in self.lines), default=0)

    def curve(self) -> list[dict[str, int]]:
        """Points up to somewhat beyond the largest batch that fits."""
        end = max(2, round(1.2 * self.max_batch) if self.max_batch else 64)
        stops = sorted({max(1, round(end * place / _POINTS)) for place in range(_POINTS + 1)})
        return [{"x": batch, "sum": self.at(batch)} for batch in stops]

    def says(self) -> str:
        """The answer in words."""
        parts = [f"Estimated for {self.device}"]
        if self.max_batch is not None:
            parts.append(f"up to ~{self.max_batch:,} samples fit")
        if self.limit is not None:
            parts.append(f"the limit is {units.size(self.limit)}")
        if self.error is not None:
            parts.append(f"it may be off by {units.size(self.error)}")
        return "; ".join(parts) + (f". From {self.basis}." if self.basis else ".")


def forecast_of(book: Book) -> Forecast | None:
    """The forecast for where the model is, else any; `None` where there is none."""
    place = book.focus
    record = book.forecasts.get(place) if place is not None else None
    record = record or next(iter(book.forecasts.values()), None)
    if record is None:
        return None
    told: dict[str, Any] = msgspec.to_builtins(record)
    lines = [_line(one) for one in told.get("phases") or () if isinstance(one, dict)]
    return Forecast(
        device=str(told.get("device")),
        lines=tuple(line for line in lines if line is not None) or _whole(told),
        max_batch=told.get("max_batch_size"),
        limit=told.get("limit_bytes"),
        error=told.get("error_bytes"),
        basis=_basis(told.get("basis")),
    )


def _line(told: Mapping[str, Any]) -> tuple[str, int, int] | None:
    fixed, slope = told.get("fixed_bytes"), told.get("bytes_per_sample")
    if not isinstance(fixed, int) or not isinstance(slope, int):
        return None
    return str(told.get("phase") or told.get("name") or ""), fixed, slope


def _whole(told: Mapping[str, Any]) -> tuple[tuple[str, int, int], ...]:
    line = _line(told)
    return () if line is None else (line,)


def _basis(told: Any) -> str:
    """What it rests on: words, or measured batch sizes."""
    if isinstance(told, str):
        return told
    if isinstance(told, list):
        sizes = [one.get("batch_size") if isinstance(one, dict) else one for one in told]
        return "batch " + ", ".join(str(size) for size in sizes)
    return ""
