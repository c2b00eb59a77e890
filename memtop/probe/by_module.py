"""A deep look by module: the rows of a `modules` record. Their `at_peak` sum to the peak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .attribution import ACTIVATIONS, BUFFERS, GRADIENTS, PARAMETERS, STATE
from .births import HELD, RECOMPUTE, Birth
from .replay import Course
from .storages import storages

if TYPE_CHECKING:
    from collections.abc import Collection

    from .found import Found

_ROOM = 900_000
"""Characters of one record, nearly: the monitor takes lines up to a MiB."""
_OWN = {PARAMETERS: "parameter_bytes", BUFFERS: "buffer_bytes", GRADIENTS: "gradient_bytes", STATE: "state_bytes"}
_SUMS = ("parameters", *_OWN.values(), "activations", "whole", "softmax", "recomputed", "at_peak", "born")
_RNN = 42
"""Per cent of what oneDNN's LSTM notes for itself that are as large in bf16; the rest is half as large. All of it came
to 0.704 to 0.709 of its float32 size at five shapes (torch 2.13)."""

Row = dict[str, Any]


def modules(found: Found, made: Course) -> dict[str, Any]:
    """`rows` (what has no module first) and how many were `folded` into that first row, for want of room."""
    rows: dict[int, Row] = {0: _empty(None, "")}
    for key, (path, module) in found.names.items():
        rows[key] = _empty(path, type(module).__name__)
        rows[key]["parameters"] = _elements(found, module)
    _fill(rows, found, made)
    for key, shape in found.look.shapes.items():
        if key in rows:
            rows[key]["output"] = list(shape)
    _count_flops(rows, found)
    slots = 24 if len(rows) <= 1000 else 8
    _fill_series(rows, found, made, slots)
    return _within(list(rows.values()), slots)


def _empty(path: str | None, kind: str) -> Row:
    return {"path": path, "type": kind, **dict.fromkeys(_SUMS, 0), "output": None, "flops": None, "series": []}


def _elements(found: Found, module: Any) -> int:
    """Elements of the parameters that are this module's own: a tied one belongs to the first that has it."""
    count = 0
    for one in module._parameters.values():
        number = None if one is None else _number(found, one)
        if number is not None and found.owners[number] == id(module):
            count += one.numel()
    return count


def _number(found: Found, tensor: Any) -> int | None:
    first = next(storages(tensor), None)
    return None if first is None else found.look.number(first)


def _fill(rows: dict[int, Row], found: Found, made: Course) -> None:
    peak, end = made.standing(made.peak), made.standing()
    kept = made.standing(made.moments["forward_end"][1]) if "forward_end" in made.moments else {}
    owners, ranks, births = found.owners, found.ranks, found.look.births
    for number, size in peak.items():
        rows[owners[number]]["at_peak"] += size
    for number, size in end.items():
        if (name := _OWN.get(ranks[number])) is not None:
            rows[owners[number]][name] += size
    scores = _scores(found)
    for number, size in kept.items():
        if ranks[number] == ACTIVATIONS and births[number].phase != RECOMPUTE:
            row, birth = rows[owners[number]], births[number]
            row["activations"] += size
            if _is_whole(birth, scores.get(owners[number], ())):
                row["whole"] += size * (_RNN if _operator(birth).startswith("mkldnn_rnn_layer.") else 100) // 100
            elif _operator(birth).startswith("_softmax."):
                row["softmax"] += size
    born: dict[int, int] = {}
    for birth, rank, owner in zip(births, ranks, owners, strict=True):
        if birth.phase != HELD and birth.device == made.device:
            born[owner] = born.get(owner, 0) + birth.bytes
            if birth.phase == RECOMPUTE and rank == ACTIVATIONS:
                rows[owner]["recomputed"] += birth.bytes
    for owner, size in born.items():
        rows[owner]["born"] = size


def _is_whole(birth: Birth, scores: Collection[int]) -> bool:
    """Whether it would be as large with half as many bits a number: integers, masks and a kernel's own notes; and what
    attention makes in float32, where that has `scores`."""
    counts = isinstance(birth.dtype, torch.dtype) and not (birth.dtype.is_floating_point or birth.dtype.is_complex)
    return counts or birth.bytes in scores or (bool(scores) and _operator(birth) == "mul.Scalar")


def _scores(found: Found) -> dict[int, set[int]]:
    """By module: sizes of the scores of `scaled_dot_product_attention` where it takes its way in single operators; no
    other code of torch's calls `_safe_softmax`. All that it makes there it makes in float32: the scores, their dropout,
    and what it multiplies to have them scaled."""
    operators = {id(birth.operator): birth for birth in found.look.births}
    safe = {one for one, birth in operators.items() if _operator(birth).startswith("_safe_softmax.")}
    made: dict[int, set[int]] = {}
    if safe:
        for birth, owner in zip(found.look.births, found.owners, strict=True):
            if id(birth.operator) in safe:
                made.setdefault(owner, set()).add(birth.bytes)
    return made


def _operator(birth: Birth) -> str:
    """`mul.Scalar`; empty for what no operator made."""
    return str(birth.operator).removeprefix("aten.") if birth.operator is not None else ""


def _count_flops(rows: dict[int, Row], found: Found) -> None:
    from torch.utils.flop_counter import flop_registry

    counted: dict[Any, int] = {}
    for one in found.look.flops:
        row = rows.get(one.module)
        if row is None:
            continue
        key = (one.operator, str(one.arguments))
        if key not in counted:
            counted[key] = int(flop_registry[one.operator._overloadpacket](*one.arguments, out_val=one.result))
        row["flops"] = (row["flops"] or 0) + counted[key]


def _fill_series(rows: dict[int, Row], found: Found, made: Course, slots: int) -> None:
    """Bytes made in the step by each module and alive: the highest of each of `slots` equal parts of the step."""
    began, owners, held, last = found.look.began, found.owners, made.held, slots - 1
    span = max(1, made.times[-1] - began)
    running: dict[int, list[int]] = {}
    sizes: dict[int, int] = {}
    for number, size, at in made.steps:
        if number in held:
            continue
        slot = (at - began) * slots // span
        if slot > last:
            slot = last
        owner = owners[number]
        one = running.get(owner)
        if one is None:
            one = running[owner] = [0, 0, *([0] * slots)]
        if one[1] != slot:
            _fill_up(one, slot)
        alive = one[0] = one[0] + size - sizes.get(number, 0)
        sizes[number] = size
        if alive > one[2 + slot]:
            one[2 + slot] = alive
    for owner, one in running.items():
        _fill_up(one, last)
        rows[owner]["series"] = one[2:]


def _fill_up(one: list[int], slot: int) -> None:
    """What is held (the first number) was held in every slot since the last one written (the second)."""
    for passed in range(one[1] + 1, slot + 1):
        one[2 + passed] = one[0]
    one[1] = slot


def _within(rows: list[Row], slots: int) -> dict[str, Any]:
    """As many rows as one record holds; the rest is added to the first."""
    room, kept = _ROOM, 0
    for row in rows:
        room -= 300 + slots * 10 + len(row["path"] or "") + len(row["type"])
        kept += room > 0
    for row in rows[kept:]:
        for name in (*_SUMS, "flops"):
            if row[name]:
                rows[0][name] = (rows[0][name] or 0) + row[name]
    return {"rows": rows[:kept], "folded": len(rows) - kept}
