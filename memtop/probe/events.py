"""The storages of one looked-at step, written to a file: what a plan for another device or batch is made from.

Only where `MEMTOP_EVENTS` names a folder, which whoever starts the target for a plan has made; in nobody else's
training is anything written. A file a device and step, JSON, in place only when it is whole. `model/step_events.py` is
its reader and says what each field means.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import wire
from .attribution import CATEGORIES
from .births import PHASES

if TYPE_CHECKING:
    from .found import Found
    from .replay import Course

FOLDER = "MEMTOP_EVENTS"


class Names:
    """Words that are told once, and a number for each."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def number(self, name: object) -> int:
        """The number of this word."""
        return self.known.setdefault(str(name), len(self.known))


def write(found: Found) -> None:
    """A file for each device of a finished look, if somebody asked for them. What can't be written is left out."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return
    for made in found.courses:
        name = f"{os.getpid()}-{found.step}-{made.device.replace(':', '_')}.json"
        part = Path(folder, f".{name}")
        try:
            part.write_text(json.dumps(told(found, made), separators=(",", ":")))
            part.replace(Path(folder, name))
        except OSError as error:
            found.notes.add(f"the storages of this step could not be written down: {error.strerror}")


def told(found: Found, made: Course) -> dict[str, Any]:
    """One device's course: its storages, those that were held before, and every change after that."""
    operators, modules, dtypes = Names(), Names(), Names()
    numbers: dict[int, int] = {}
    for number in (*made.held, *(number for number, _, _ in made.steps)):
        numbers.setdefault(number, len(numbers))
    births = []
    known = found.look.births
    for number in numbers:
        birth = known[number]
        births.append(
            (
                found.ranks[number],
                birth.phase,
                operators.number(birth.operator or ""),
                modules.number(found.path(found.owners[number]) or ""),
                dtypes.number(birth.dtype),
                birth.bytes,
                [int(size) for size in birth.shape],
            )
        )
    facts = {
        "device": made.device,
        "step": found.step,
        "played": made.played,
        "categories": CATEGORIES,
        "phases": PHASES,
        "operators": list(operators.known),
        "modules": list(modules.known),
        "dtypes": list(dtypes.known),
        "births": births,
        "held": [numbers[one] for one in made.held],
        "changes": [(numbers[number], size) for number, size, _ in made.steps],
        "moments": {name: count for name, (_, count) in made.moments.items()},
    }
    return {"v": wire.VERSION, "kind": "storages", "pid": os.getpid(), "rank": wire.rank(), **facts}
