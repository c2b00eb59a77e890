"""What a person's script may call. It belongs to their program: it imports nothing and never fails."""

from __future__ import annotations

import sys


def track(label: str = "") -> None:
    """Mark this line: memtop tells which tensors have come and gone since the mark before.

    The first mark tells all that live. Tensors alike in shape, dtype, kind (`Parameter`, `Tensor`, a class) and
    device stand together with their count and bytes; what is counted is said in memtop's `probe/tracking.py`. It
    costs a search through all objects of the process, 20 to 100 ms. Where memtop does not watch it does nothing, in
    less than a microsecond: marks may stay in the script. In code that `torch.compile` compiles they do nothing too.
    """
    if "_memtop_probe.runtime" not in sys.modules:
        return
    if sys.modules["torch"].compiler.is_compiling():  # so that the compiler need not look into what follows
        return
    try:
        from _memtop_probe.tracking import mark  # type: ignore[import-not-found]

        mark(label, sys._getframe().f_back)
    except Exception:
        # Ours alone: the person's program goes on. What can be told of it, `mark` has told the monitor.
        return
