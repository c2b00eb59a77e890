"""Trainings that take turns in one process, each with a model and an optimizer of its own."""

from __future__ import annotations

import argparse
import gc
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from common import cli


@dataclass(frozen=True)
class Turn:
    """One training of several."""

    name: str
    before: int
    """Steps that others made before it."""
    steps: int
    """Its own; 0 is until interrupted."""

    def took(self, seconds: float) -> None:
        """Say on stdout what its steps took."""
        print(f"time of {self.name}: {1e3 * seconds / self.steps:.2f} ms a step", flush=True)


def add_flag(parser: argparse.ArgumentParser, phase_steps: int) -> None:
    """`--phase-steps`, with this scenario's own default."""
    words = "steps of one phase at most, where several take turns; with few --steps each phase has an even share"
    parser.add_argument("--phase-steps", type=cli.whole(1), default=phase_steps, help=words)


def turns(names: Sequence[str], steps: int, phase_steps: int) -> Iterator[Turn]:
    """The names in turn, round and round until `steps` are used up (0: never). One name alone has all the steps.

    Says on stdout which phase begins. What the phase before has left in reference cycles is freed first: two models
    at a time would be a lesson about something else.
    """
    if len(names) == 1:
        yield _announced(Turn(names[0], 0, steps), 1, 1)
        return
    share = min(phase_steps, -(-steps // len(names)) if steps else phase_steps)
    before = 0
    for number, name in itertools.cycle(enumerate(names, 1)):
        if steps and before >= steps:
            return
        gc.collect()
        turn = Turn(name, before, min(share, steps - before) if steps else share)
        yield _announced(turn, number, len(names))
        before += turn.steps


def _announced(turn: Turn, number: int, count: int) -> Turn:
    span = f"steps {turn.before + 1} to {turn.before + turn.steps}" if turn.steps else "until interrupted"
    print(f"phase {number} of {count}: {turn.name}, {span}", flush=True)
    return turn
