"""Where a step makes the CPU wait for a device: values read (`.item()`, `bool(tensor)`), copies to the CPU.

Seen by the deep look's dispatch mode. On the CPU nothing waits; a value that the person's own line reads there is
counted all the same, with no time: the same line would wait on a GPU. torch's own reads (Adam's step count) are not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .births import PHASES
from .places import Places, text_of

_READS = "aten::_local_scalar_dense"
_COPIES = ("aten::_to_copy", "aten::copy_")

Key = tuple[int, str, str, int]
"""Line (a number of `Places`), operator, device, phase."""


class Syncs:
    """The waits of one step."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._waits: dict[Key, list[int]] = {}
        """How many, and nanoseconds in all."""

    def ran(self, operator: Any, args: Any, kwargs: Any, result: Any, frame: Any, phase: int, elapsed_ns: int) -> None:
        """An operator that may wait has run, called from `frame`."""
        name: str = operator._schema.name
        device = _waits_for(name, args, kwargs or {}, result)
        if device is None:
            return
        if device == "cpu":
            if frame is None or not self._places.is_mine(frame.f_code):
                return
            elapsed_ns = 0
        line = self._places.find(frame)[0] if frame is not None else self._places.edge
        known = self._waits.setdefault((line, name.removeprefix("aten::"), device, phase), [0, 0])
        known[0] += 1
        known[1] += elapsed_ns

    def told(self, step: int) -> tuple[str, dict[str, Any]] | None:
        """Message and data of an event; `None` where nothing waited."""
        if not self._waits:
            return None
        rows = sorted((self._row(key, *value) for key, value in self._waits.items()), key=lambda row: -row["count"])
        count, seconds = sum(row["count"] for row in rows), sum(row["seconds"] for row in rows)
        first = rows[0]
        where = "" if first["file"] is None else f", most at {Path(first['file']).name}:{first['line']}"
        alone = all(row["device"] == "cpu" for row in rows)
        words = (
            "read a tensor's value (on a GPU each makes the CPU wait)" if alone else "made the CPU wait for a device"
        )
        return f"step {step} {words} {'once' if count == 1 else f'{count:,} times'}{where}", {
            "step": step,
            "count": count,
            "seconds": seconds,
            "rows": rows[:50],
        }

    def _row(self, key: Key, count: int, elapsed_ns: int) -> dict[str, Any]:
        line, name, device, phase = key
        place = self._places.known[line] if line >= 0 else None
        return {
            "file": None if place is None else place[0],
            "line": None if place is None else place[1],
            "text": None if place is None else text_of(place),
            "operator": name,
            "device": device,
            "phase": PHASES[phase],
            "count": count,
            "seconds": elapsed_ns / 1e9,
        }


def _waits_for(name: str, args: Any, kwargs: Any, result: Any) -> str | None:
    """The device that the CPU has waited for; `None` for none."""
    source = args[1] if name == "aten::copy_" else args[0]
    device: str = source.device.type
    if name in _COPIES:
        target = args[0] if name == "aten::copy_" else result
        blocking = not (kwargs.get("non_blocking") or (name == "aten::copy_" and len(args) > 2 and args[2]))
        return device if device not in ("cpu", "meta") and target.device.type == "cpu" and blocking else None
    return device if device != "cpu" or name == _READS else None
