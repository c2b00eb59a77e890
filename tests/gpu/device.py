"""What the tests of this folder ask of the machine, and memtop run on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

STANDS_IN = bool(os.environ.get("FAKE_CUDA_LEDGER"))
"""Whether the device is the stand-in of `tests/fake_cuda`, on which no kernel computes anything."""
computes = pytest.mark.skipif(STANDS_IN, reason="needs kernels that compute: the stand-in for CUDA has none")
ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"
TENSORS = ("parameters", "buffers", "gradients", "optimizer_state", "inputs", "activations", "temporaries")
LIMIT = 240
"""Seconds after which what should have ended has not."""
Done = subprocess.CompletedProcess[str]
Record = dict[str, Any]


def python(*command: str) -> Done:
    """A program of this Python."""
    return subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)


def memtop(*command: str) -> Done:
    """memtop, under this Python."""
    return python("-m", "memtop", *command)


def logged(path: Path) -> list[Record]:
    """The records of a log."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def adds_up(record: Record) -> None:
    """A memory record of a GPU: its parts are the device, its tensors and their rounding what torch has handed out."""
    sizes = record["bytes"]
    assert sum(size for size in sizes.values() if size is not None) == record["device_total"]
    tensors = sum(sizes[name] or 0 for name in (*TENSORS, "other_tensors"))
    assert tensors + sizes["rounding"] == record["allocated"]
    assert record["allocated"] + sizes["pending_free"] + sizes["cached"] == record["reserved"]
    assert min(sizes["rounding"], sizes["pending_free"], sizes["cached"], sizes["free"]) >= 0
