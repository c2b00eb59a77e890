"""What a person's script may call. It belongs to their program: it imports next to nothing and never fails."""

from __future__ import annotations

import os
import sys


def start() -> None:
    """Let `memtop connect` find this program and show where its memory goes, as often as a person likes.

    It returns at once and may be called before or after `import torch`, and twice. Nobody need come: until somebody
    does, a step pays about a microsecond. The socket is this user's alone. Where memtop watches already it does
    nothing, and it never fails: where there is no place for a socket the program goes on unseen (`MEMTOP_DEBUG=1` says
    why).
    """
    if "_memtop_probe" in sys.modules:
        return
    try:
        from importlib.util import module_from_spec, spec_from_file_location
        from pathlib import Path

        folder = Path(__file__).resolve().parent / "probe"
        path = folder / "__init__.py"
        spec = spec_from_file_location("_memtop_probe", path, submodule_search_locations=[str(folder)])
        if spec is None or spec.loader is None:
            return
        package = module_from_spec(spec)
        sys.modules["_memtop_probe"] = package
        spec.loader.exec_module(package)
        from _memtop_probe import visits  # type: ignore[import-not-found]

        visits.begin()
    except Exception:
        if os.environ.get("MEMTOP_DEBUG"):
            raise


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
