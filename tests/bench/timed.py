"""Runs a training script and writes down when each of its steps began.

`python timed.py OUT SCRIPT [ARGUMENTS...]`. A step begins at `Optimizer.zero_grad`, wrapped alike with and without the
probe. On USR1 the times (`time.monotonic_ns()`, as 8-byte integers) go to the file OUT, and the process ends at once.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import time
from array import array
from pathlib import Path
from typing import Any

import torch

began = array("q")
"""When each step began."""
_zero_grad = torch.optim.Optimizer.zero_grad


def zero_grad(self: Any, *args: Any, **kwargs: Any) -> None:
    """A step begins."""
    began.append(time.monotonic_ns())
    _zero_grad(self, *args, **kwargs)


def finish(*_: Any) -> None:
    """Hand over and end."""
    out.write_bytes(began.tobytes())
    os._exit(0)


if __name__ == "__main__":
    out, sys.argv = Path(sys.argv[1]), sys.argv[2:]
    torch.optim.Optimizer.zero_grad = zero_grad  # type: ignore[method-assign]
    signal.signal(signal.SIGUSR1, finish)
    runpy.run_path(sys.argv[0], run_name="__main__")
