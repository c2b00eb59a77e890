"""The records as plain standard-library types. `protocol/records.py` mirrors them; a test holds them together.

What `facts` hold wins over what every record has: a `t_ns` among them says when it was, where that is not now.
"""

from __future__ import annotations

import math
import os
import platform
import sys
import time
from typing import Any

VERSION = 1
VITAL = frozenset({"hello", "model", "modules", "lines", "trace", "scaling", "batch", "event", "ack", "fault", "bye"})
"""Kinds that are never dropped (a `memory` record of a peak is spared too)."""

Record = dict[str, Any]


_rank: int | None = None
"""What `torch.distributed` said, once it did: it forgets when the program takes it down."""


def rank() -> int:
    """This process's rank in a distributed run, as `torch.distributed` has it, else as the launcher told; 0 where there
    is one."""
    global _rank
    if _rank is None:
        _rank = _from_torch()
    if _rank is not None:
        return _rank
    text = os.environ.get("RANK", "0")
    return int(text) if text.isdigit() else 0


def _from_torch() -> int | None:
    """Of a process that was spawned by hand no variable says it."""
    distributed = sys.modules.get("torch.distributed")
    try:
        if distributed is None or not distributed.is_available() or not distributed.is_initialized():
            return None
        return int(distributed.get_rank())
    except Exception:
        return None


def _base(kind: str) -> Record:
    return {"v": VERSION, "kind": kind, "t_ns": time.monotonic_ns(), "pid": os.getpid(), "rank": rank()}


def hello(torch_facts: Record | None) -> Record:
    """A Python is up; `torch_facts` has `torch`, `cuda`, `allocator`, `devices` once torch is imported."""
    facts = torch_facts or {"torch": None, "cuda": None, "allocator": None, "devices": []}
    return _base("hello") | {"python": platform.python_version()} | facts


def model(facts: Record) -> Record:
    """`facts`: name, device, parameters, trainable_parameters, bytes, modules, optimizers, inputs,
    micro_batches, sequence."""
    return _base("model") | facts


def memory(facts: Record) -> Record:
    """`facts`: device, step, moment, tier, bytes, allocator, where, notes; of a deep look also `t_ns`."""
    return _base("memory") | facts


def modules(facts: Record) -> Record:
    """`facts`: device, step, rows, folded."""
    return _base("modules") | facts


def lines(facts: Record) -> Record:
    """`facts`: device, step, rows."""
    return _base("lines") | facts


def trace(facts: Record) -> Record:
    """`facts`: device, step, seconds, columns, times, points, marks, peak, changes."""
    return _base("trace") | facts


def scaling(facts: Record) -> Record:
    """`facts`: device, step, batch_size, batches, peak, rounding, sample_shape, phases, length, lengths,
    length_unknown, limits, blocks, image, pixels, pixels_error, pixels_unknown."""
    return _base("scaling") | facts


def batch(facts: Record) -> Record:
    """`facts`: step, tensors, picture."""
    return _base("batch") | facts


def step(facts: Record) -> Record:
    """`facts`: step, steps, seconds, phases, batch_size, loss, pass_end, spent_ns, announced_ns, looks, trained_ns.

    A loss of NaN is `None`.
    """
    loss = facts["loss"]
    # JSON has no word for NaN and infinity: the line of a training that diverges must not be lost for it.
    return _base("step") | facts | {"loss": loss if loss is not None and math.isfinite(loss) else None}


def event(name: str, message: str, **data: Any) -> Record:
    """Something happened inside the target."""
    return _base("event") | {"name": name, "message": message, "data": data}


def ack(command: int, at_step: int) -> Record:
    """A command took effect after step `at_step`."""
    return _base("ack") | {"id": command, "step": at_step}


def fault(command: int, message: str, remedy: str | None) -> Record:
    """A command could not take effect."""
    return _base("fault") | {"id": command, "message": message, "remedy": remedy}


def bye(facts: Record) -> Record:
    """The probe's last word. `facts`: steps, seconds, spent_ns, announced_ns, looks, dropped."""
    return _base("bye") | facts
