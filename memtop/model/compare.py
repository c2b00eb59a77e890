"""Runs side by side: the bytes of each at its highest, what it made of its time, and what differs. Arithmetic only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from memtop.model.categories import TENSORS
from memtop.model.logbook import Book, tensors
from memtop.model.records import Setting

TOTAL: Final = "tensors"
"""The row of the known tensors' sum."""


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One run among others."""

    path: str
    book: Book
    note: str | None = None
    """What is not whole about its log."""

    def bytes_of(self, category: str) -> int | None:
        """A category, or `TOTAL`, at the moment where this run's tensors were most."""
        top = self.book.top
        return None if top is None else tensors(top) if category == TOTAL else top.bytes.get(category)

    @property
    def settings(self) -> dict[str, Setting]:
        """Its settings; of a command what can be seen of them."""
        known = dict(self.book.run.settings) if self.book.run is not None else {}
        if known.get("batch_size") is None and self.book.batch_size is not None:
            known["batch_size"] = self.book.batch_size
        model = self.book.model
        if "optimizer" not in known and model is not None and model.optimizers:
            known["optimizer"] = " + ".join(model.optimizers)
        return known


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What a figure became."""

    difference: int | None
    """Bytes more (or, below zero, less) than in the first run; `None` where one of them is not known."""
    percent: float | None
    """The difference in per cent of the first; `None` where that is zero or not known."""


def change(first: float | None, other: float | None) -> Change:
    """From the first run's figure to another's."""
    if first is None or other is None:
        return Change(difference=None, percent=None)
    return Change(difference=int(other - first), percent=100 * (other - first) / first if first else None)


def categories(sides: Sequence[Side]) -> list[str]:
    """The tensor categories that any run knows above or below zero, in order, then their sum."""
    return [*(name for name in TENSORS if any(side.bytes_of(name) for side in sides)), TOTAL]


def differing(sides: Sequence[Side]) -> dict[str, list[Setting]]:
    """Settings that are not the same in all runs: a value for each run, `None` where it has none."""
    names = dict.fromkeys(name for side in sides for name in side.settings)
    values = {name: [side.settings.get(name) for side in sides] for name in names}
    return {name: found for name, found in values.items() if any(value != found[0] for value in found)}


def growth(sides: Sequence[Side]) -> list[float | None]:
    """By how many per cent the highest tensors of each run but the first exceed the first's."""
    first = sides[0].bytes_of(TOTAL)
    return [change(first, side.bytes_of(TOTAL)).percent for side in sides[1:]]


def to_json(sides: Sequence[Side]) -> dict[str, Any]:
    """Everything, with plain names and integer bytes; unknown is `null`."""
    return {
        "runs": [_run(side) for side in sides],
        "changes": [_changes(sides[0], side) for side in sides[1:]],
        "settings": differing(sides),
    }


def _run(side: Side) -> dict[str, Any]:
    book, top = side.book, side.book.top
    return {
        "log": side.path,
        "note": side.note,
        "name": book.name,
        "settings": side.settings,
        "device": None if top is None else top.device,
        "rank": None if top is None else top.rank,
        "step": None if top is None else top.step,
        "moment": None if top is None else top.moment,
        "bytes": {} if top is None else {TOTAL: tensors(top), **top.bytes},
        "device_total": None if top is None else top.device_total,
        "where": None if top is None else top.where,
        "steps": book.steps,
        "step_seconds": book.step_seconds,
        "samples_per_second": book.samples_per_second,
        "loss": None if book.loss is None else book.loss[1],
        "loss_step": None if book.loss is None else book.loss[0],
        "exit_code": None if book.end is None else book.end.exit_code,
        "signal": None if book.end is None else book.end.signal,
        "ended": book.end is not None,
    }


def _changes(first: Side, other: Side) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in (*TENSORS, TOTAL):
        moved = change(first.bytes_of(name), other.bytes_of(name))
        found[name] = {"bytes": moved.difference, "percent": moved.percent}
    for name in ("step_seconds", "samples_per_second"):
        found[name] = {"percent": change(getattr(first.book, name), getattr(other.book, name)).percent}
    return {"log": other.path, **found}
