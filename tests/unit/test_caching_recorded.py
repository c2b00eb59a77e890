"""The model of CUDA's caching allocator beside what torch's own answered, call for call and to the byte.

The fixtures were made by `tests/fake_cuda/record_allocator.py`; each says in its first field over what.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from memtop.model.caching import CachingAllocator, OutOfMemory, parse
from memtop.model.caching.blocks import Block

FOLDER = Path(__file__).parents[1] / "fixtures" / "allocator"
NAMES = sorted(path.name.removesuffix(".json.gz") for path in FOLDER.glob("*.json.gz"))
EMPTY = -(10**9)


class Played:
    """The model in the place of torch's allocator."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.conf = parse(told["conf"])
        self.model = CachingAllocator(self.conf, told["limit"], told["capped"], told["total"])
        self.live: list[Block] = []
        self.ooms = 0

    def call(self, what: int) -> None:
        if what == EMPTY:
            self.model.empty_cache()
        elif what < 0:
            self.model.free(self.live.pop(-what - 1))
        else:
            try:
                self.live.append(self.model.malloc(what))
            except OutOfMemory:
                self.ooms += 1

    def counters(self) -> dict[str, int]:
        model = self.model
        rows = [] if self.conf.expandable else model.tiles()  # torch counts neither of these two for expandable ones
        split = sum(one.size for row in rows for one in row if not one.used and not one.whole)
        told = {"requested": model.requested, "allocated": model.allocated, "active": model.allocated}
        told |= {"reserved": model.reserved, "split": split, "segments": len(rows)}
        return told | {"taken": model.segments, "retries": model.retries, "ooms": self.ooms}


def test_there_are_recorded_courses() -> None:
    assert {"plain", "capped", "collected", "unsplit", "divisions", "expandable_short", "cnn"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_answer_is_torchs(name: str) -> None:
    told = json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))
    assert told["made"].startswith("torch 2.")
    played = Played(told)
    assert len(told["calls"]) >= 300
    for number, (what, answer) in enumerate(zip(told["calls"], told["answers"], strict=True)):
        played.call(what)
        wanted = dict(zip(told["counters"], answer, strict=True))
        assert played.counters() == wanted, f"call {number}: {what}"
