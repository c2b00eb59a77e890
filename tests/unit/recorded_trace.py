"""An allocator's record of a deep look, kept in a file: taken on a GPU once, played wherever there is none."""

from __future__ import annotations

import gzip
import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from memtop.probe import found
from memtop.probe.allocator import Mark
from memtop.probe.births import Birth, Moment, Move
from memtop.probe.cuda_history import Block, Entry, Recorded, Segment
from memtop.probe.replay_cuda import course_from_history

DATA = Path(__file__).parent.parent / "fixtures" / "history"
"""Each was made by `tests/gpu/test_deep_real.py`, and says in `made` over what."""
Played = tuple[Any, list[int], str, Recorded]
"""What `course_from_history` is given: look, ranks, device and record."""


def captured(monkeypatch: pytest.MonkeyPatch) -> list[Played]:
    """What will be played from now on, as it is before it is played."""
    seen: list[Played] = []
    original = found.course_from_history

    def play(look: Any, ranks: list[int], device: str, recorded: Recorded, notes: set[str]) -> Any:
        seen.append((_kept(look), list(ranks), device, recorded))
        return original(look, ranks, device, recorded, notes)

    monkeypatch.setattr(found, "course_from_history", play)
    return seen


def _kept(look: Any) -> SimpleNamespace:
    """Of a look what playing needs. Dtypes and operators by name; modules are nobody's here."""
    births = [
        one._replace(shape=tuple(one.shape), dtype=str(one.dtype), operator=str(one.operator), module=0)
        for one in look.births
    ]
    moments = [event for event in look.events if isinstance(event, Moment)]
    facts = {"addresses": dict(look.addresses), "moves": list(look.moves), "sums": dict(look.sums)}
    return SimpleNamespace(births=births, events=moments, began=look.began, **facts)


def save(path: Path, played: Played, expected: dict[str, Any]) -> None:
    """Write it down with what is expected of it."""
    look, ranks, device, recorded = played
    facts = {"look": vars(look), "ranks": ranks, "device": device, "recorded": asdict(recorded), "expected": expected}
    path.parent.mkdir(exist_ok=True, parents=True)
    with gzip.GzipFile(path, "wb", mtime=0) as file:
        file.write(json.dumps(facts, separators=(",", ":")).encode())


def load(path: Path) -> tuple[Played, dict[str, Any]]:
    """What was written down."""
    facts = json.loads(gzip.decompress(path.read_bytes()))
    kept, told = facts["look"], facts["recorded"]
    look = SimpleNamespace(
        births=[Birth(*one)._replace(shape=tuple(one[2])) for one in kept["births"]],
        events=[Moment(*one) for one in kept["events"]],
        began=kept["began"],
        addresses={int(number): address for number, address in kept["addresses"].items()},
        moves=[Move(*one) for one in kept["moves"]],
        sums={int(number): tuple(summed) for number, summed in kept["sums"].items()},
    )
    recorded = Recorded(
        segments=[Segment(small, tuple(Block(*one) for one in blocks)) for small, blocks in told["segments"]],
        entries=[Entry(*one) for one in told["entries"]],
        marks={name: Mark(*one) for name, one in told["marks"].items()},
        settings=told["settings"],
    )
    return (look, facts["ranks"], facts["device"], recorded), facts["expected"]


def play(path: Path) -> None:
    """A record from a file has the peak that was measured when it was taken."""
    (look, ranks, device, recorded), expected = load(path)
    made = course_from_history(look, ranks, device, recorded, set())
    assert list(made.highest) == expected["peak"]
    assert made.counters == expected["counters"]
    assert sum(made.standing(made.peak).values()) == sum(made.highest) == expected["counters"]["requested"]
