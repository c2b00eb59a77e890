"""What does not change between two frames is not worked out twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Record = TypeVar("Record")
Found = TypeVar("Found")


class Remembered(Generic[Record, Found]):
    """A function of a frozen record (and of plain values) that keeps its last results.

    Records are told apart by identity, which costs nothing; each result holds its record, so that no other record
    can come to stand at the same address.
    """

    def __init__(self, make: Callable[..., Found], keep: int = 4) -> None:
        self._make = make
        self._keep = keep
        self._known: list[tuple[Record, tuple[object, ...], Found]] = []

    def __call__(self, record: Record, *rest: object) -> Found:
        for known, values, found in self._known:
            if known is record and values == rest:
                return found
        made = self._make(record, *rest)
        self._known = [(record, rest, made), *self._known[: self._keep - 1]]
        return made
