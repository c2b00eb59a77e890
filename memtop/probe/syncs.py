"""Where a step makes the CPU wait for a device: values read (`.item()`, `bool(tensor)`, `.tolist()`, `print`), results
whose size depends on values (`nonzero`, a boolean mask), copies between the CPU and a device.

Seen by the deep look's dispatch mode, and by `reads.py` where no operator runs. On the CPU nothing waits; a value that
the person's own line reads there is counted all the same, with no time: the same line would wait on a GPU. What a
loader and an optimizer read is not (Adam's step count, a label): it is the CPU's on a GPU's machine as well.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from .births import DATA, OPTIMIZER, PHASES
from .places import Places, text_of

_READS = frozenset(
    f"aten::{name}"
    for name in (
        "_local_scalar_dense",
        "_linalg_check_errors",
        "_unique2",
        "allclose",
        "bincount",
        "equal",
        "masked_select",
        "nonzero",
        "repeat_interleave",
        "unique_consecutive",
        "unique_dim",
    )
)
"""The CPU must know the values, or how many results there are."""
_MASKED = ("aten::index", "aten::index_put", "aten::index_put_")
_COPIES = ("aten::_to_copy", "aten::copy_")
WAITING = _READS.union(_MASKED, _COPIES)
"""Names of operators that may wait."""
_THIN = frozenset(
    str(Path(torch.__file__).parent / name)
    for name in ("functional.py", "_tensor.py", "_jit_internal.py", "nn/parameter.py")
)
"""Python of torch's that stands between a person's line and an operator: `torch.unique`, `float(tensor)`."""

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
        if device is not None:
            self._count(name.removeprefix("aten::"), device, frame, phase, elapsed_ns)

    def read(self, name: str, device: str, frame: Any, phase: int, elapsed_ns: int) -> None:
        """A method has read a tensor's values without an operator, called from `frame`."""
        self._count(name, device, frame, phase, elapsed_ns)

    def _count(self, name: str, device: str, frame: Any, phase: int, elapsed_ns: int) -> None:
        if device == "cpu":
            while frame is not None and frame.f_code.co_filename in _THIN:
                frame = frame.f_back
            if phase in (DATA, OPTIMIZER) or frame is None or not self._places.is_mine(frame.f_code):
                return
            elapsed_ns = 0
        line = self._places.find(frame)[0] if frame is not None else self._places.edge
        known = self._waits.setdefault((line, name, device, phase), [0, 0])
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
    """The device that the CPU has waited for, or would wait for if it were one; `None` for none."""
    if name in _COPIES:
        return _copies(name, args, kwargs, result)
    device: str = args[0].device.type
    if device == "meta" or (name in _MASKED and not _is_masked(args)):
        return None
    return None if name == "aten::repeat_interleave" and kwargs.get("output_size") is not None else device


def _copies(name: str, args: Any, kwargs: Any, result: Any) -> str | None:
    """The device of a copy that waits: one between it and the CPU, either way, waits for all that was queued before,
    unless `non_blocking` says otherwise."""
    target, source = (args[0], args[1]) if name == "aten::copy_" else (result, args[0])
    if kwargs.get("non_blocking") or (name == "aten::copy_" and len(args) > 2 and args[2]):
        return None
    kinds: set[str] = {target.device.type, source.device.type}
    return kinds.difference({"cpu"}).pop() if len(kinds) == 2 and "cpu" in kinds and "meta" not in kinds else None


def _is_masked(args: Any) -> bool:
    """Whether a boolean tensor says which elements: how many they are is known by its values. One number of the CPU's
    put there is filled in without being asked."""
    masks = [one for one in args[1] if one is not None and one.dtype in (torch.bool, torch.uint8)]
    filled = len(args) > 2 and args[2].numel() == 1 and args[2].device.type == "cpu"
    return bool(masks) and not filled
