"""The picture of an out-of-memory error: what was held at that instant, what was asked for, and from which line.

Nothing is hooked to see one. CUDA's allocator has observers that run before the exception is raised. On the CPU there
are none: an exception that ends the program is found at exit, where Python leaves it (`sys.last_value`; the traceback's
frames keep alive what was held), and one that the program catches is seen where it passes through a backward or an
operator that we watch. In an unwatched step of the CPU a caught one is not seen.
"""

from __future__ import annotations

import contextlib
import gc
import re
import resource
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import torch

from . import allocator, graph, wire
from .inputs import Inputs
from .places import Place, Places, module_names, text_of
from .storages import Ledger, storages, tensors
from .tracker import CATEGORIES, Tracker
from .transport import Transport

_GAP_NS = 5_000_000_000
"""Between two pictures: a search for the largest batch fails again and again."""
_MOST = 20
"""Pictures of one process."""
_CPU = re.compile(r"DefaultCPUAllocator: .*?(?:tried to allocate|not enough memory:.*?allocate) (\d+) bytes", re.S)
_CUDA = re.compile(r"Tried to allocate ([\d.]+) (bytes|KiB|MiB|GiB)")
_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_TEXTS = ("DefaultCPUAllocator: ", "CUDA out of memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
_DATASET = 100_000
"""Tensors of datasets that are looked at."""
_SMALL = 1 << 20
"""Bytes up to which CUDA's allocator serves a request from its pool of small blocks."""


def is_oom(error: BaseException | None) -> bool:
    """Whether an exception says that memory ran out: by its type, by torch's own words only after that."""
    kind = getattr(torch, "OutOfMemoryError", None) or torch.cuda.OutOfMemoryError
    if isinstance(error, (kind, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _TEXTS)


def asked(text: str) -> int | None:
    """The bytes that the failed allocation asked for, off the exception's text: rounded there by CUDA's allocator."""
    if found := _CPU.search(text):
        return int(found[1])
    if found := _CUDA.search(text):
        return round(float(found[1]) * _UNITS[found[2]])
    return None


class Ooms:
    """Sees what ran out of memory, and tells it. Every public method is harmless to the caller."""

    def __init__(self, link: Transport, tracker: Tracker, inputs: Inputs, step: Callable[[], int]) -> None:
        """`step` gives the number of steps completed."""
        self._link = link
        self._tracker = tracker
        self._inputs = inputs
        self._step = step
        self._attached = False
        self._told = 0
        self._last_ns = 0
        self._last: tuple[int, str] | None = None
        """Step and first words of the newest one: it may be met again on its way up."""

    def attach(self) -> None:
        """Have CUDA's allocator tell, once the program itself has begun CUDA."""
        attach = getattr(torch._C, "_cuda_attach_out_of_memory_observer", None)
        if self._attached or attach is None or not torch.cuda.is_initialized():
            return
        self._attached = True
        attach(self._observed)

    def passing(self, error: BaseException | None) -> None:
        """An exception passes through a place of ours; whether it will be caught is not known yet."""
        if error is not None and is_oom(error):
            self._tell(str(error), lambda places: _on_the_way(places, error.__traceback__), fatal=False)

    def at_exit(self) -> None:
        """The program ends. If it ends by running out of memory, Python has left the exception where it is found."""
        error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
        if error is not None and is_oom(error):
            trace = error.__traceback__ or getattr(sys, "last_traceback", None)
            self._tell(str(error), lambda places: _in_traceback(places, trace), fatal=True)

    def _observed(self, device: int, wanted: int, total: int, free: int) -> None:
        """CUDA's allocator gives up. Called before the exception, outside of its lock, on whichever thread asked."""
        share = _share(device)
        free_now = free if share is None else max(0, min(free, share["bytes"] - share["used"]))
        facts = {"device": f"cuda:{device}", "asked": wanted, "device_free": free_now}
        facts |= {"limit": share if free_now < free else None} | _fragments(device, wanted)
        self._tell("CUDA out of memory", _on_stack, fatal=False, facts=facts)

    def _tell(self, text: str, where: Callable[[Places], Any], fatal: bool, facts: Any = None) -> None:
        # What is ours must not raise here: the person's own error is under way.
        # A tensor subclass's own code must not run for our questions.
        with contextlib.suppress(Exception), torch._C.DisableTorchFunctionSubclass():
            now, step = time.monotonic_ns(), self._step()
            same = self._last is not None and self._last[0] == step and (fatal or self._last[1] == _kind(text))
            if fatal and same:
                self._link.send(wire.event("oom_end", "the training ended by it"))
                return
            if same or self._told >= _MOST or (now - self._last_ns < _GAP_NS and self._told and not fatal):
                return
            self._told, self._last_ns, self._last = self._told + 1, now, (step, _kind(text))
            facts = facts or {}
            picture = self._picture(text, where, facts.get("device")) | facts
            self._link.send(wire.event("oom", text.strip().splitlines()[0][:300], **picture, fatal=fatal))

    def _picture(self, text: str, where: Callable[[Places], Any], device: str | None) -> dict[str, Any]:
        if self._tracker.blind:
            self._tracker.scan()
        notes = set(self._tracker.notes)
        place, module = where(Places())
        ledger, likely = self._census(notes)
        device = device or ("cpu" if _kind(text) == "cpu" else _busiest(ledger))
        known: dict[str, int | None] = {name: ledger.bytes.get(device, {}).get(name, 0) for name in CATEGORIES}
        known |= {"temporaries": None, "other_tensors": ledger.bytes.get(device, {}).get("other_tensors", 0)}
        names = module_names(self._tracker.modules())
        return {
            "device": device,
            "step": self._step() + 1,
            "asked": asked(text),
            "place": None if place is None else _told(place),
            "module": names[module][0] if module in names else None,
            "bytes": known,
            "allocator": allocator.counters(device),
            "inputs": [[list(shape), dtype] for shape, dtype, _ in self._inputs.completed],
            "inputs_now": self._now(likely),
            "optimizers": [type(one).__name__ for one in self._tracker.optimizers()],
            "limit": None if device != "cpu" else _address_space(),
            "leaves": sum(not one._modules for one in self._tracker.modules()),
            "device_free": None,
            "cached": None,
            "largest_free": None,
            "notes": sorted(notes),
        }

    def _now(self, likely: list[Any]) -> list[Any]:
        """Shape and dtype of the batch that was under way: as seen, else of what looks like it."""
        if self._inputs.is_current:
            return [[list(shape), dtype] for shape, dtype, _ in self._inputs.shapes]
        return [[list(one.shape), str(one.dtype)[6:]] for one in likely]

    def _census(self, notes: set[str]) -> tuple[Ledger, list[Any]]:
        """Everything that Python or the graph behind it holds, by category; and the tensors that are the batch, as far
        as their dtype and shape tell."""
        living = [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor)]
        likely = [] if self._inputs.is_current else _batch(living, self._inputs)
        ledger = self._tracker.held()
        ledger.claim("inputs", likely)
        ledger.claim("inputs", _copies(living, self._now(likely)))
        roots = [one for one in living if one.grad_fn is not None]
        ledger.claim("activations", [*graph.saved(roots, notes), *roots])
        ledger.claim("other_tensors", living)
        return ledger, likely


def _kind(text: str) -> str:
    return "cuda" if "CUDA" in text or "CUBLAS" in text else "cpu"


def _told(place: Place) -> dict[str, Any]:
    return {"file": place[0], "line": place[1], "function": place[2], "text": text_of(place)}


def _in_traceback(places: Places, trace: TracebackType | None) -> tuple[Place | None, int]:
    """The person's innermost line of a traceback, and the `id` of the innermost module that ran. The frames are over:
    reading their locals keeps nothing alive that the traceback does not."""
    place, module = None, 0
    while trace is not None:
        code = trace.tb_frame.f_code
        if places.is_call(code):
            module = id(trace.tb_frame.f_locals["self"])
        elif places.is_mine(code):
            place = (code.co_filename, trace.tb_lineno, code.co_name)
        trace = trace.tb_next
    return place, module


def _on_the_way(places: Places, trace: TracebackType | None) -> tuple[Place | None, int]:
    """The same of an exception that is still rising: what it has passed, else what runs above."""
    place, module = _in_traceback(places, trace)
    above, outer = _on_stack(places) if place is None or not module else (None, 0)
    return place or above, module or outer


def _on_stack(places: Places) -> tuple[Place | None, int]:
    """The same for what runs just now. Autograd's threads have no Python: the main thread's line called backward."""
    import threading

    frame: FrameType | None = sys._getframe()
    number, module, _ = places.find(frame)
    if number < 0:
        frame = sys._current_frames().get(threading.main_thread().ident or 0)
        number, module, _ = places.find(frame)
    return (places.known[number] if number >= 0 else None), module


def _batch(living: list[Any], inputs: Inputs) -> list[Any]:
    """Of the living tensors, for each tensor of the last batch seen the one that stands in its place.

    Of the same dtype and shape, else the largest that differs in two dimensions at most. Tensors of a dataset are none,
    nor is that old batch while another is there.
    """
    plain = [one for one in living if type(one) is torch.Tensor and not one.requires_grad and one.dim()]
    kinds = {(dtype, len(shape)) for shape, dtype, _ in inputs.shapes}
    plain = [one for one in plain if (str(one.dtype)[6:], one.dim()) in kinds]
    stored = _of_datasets() if plain else set()
    old = {held.key for held in inputs.held if held.alive}
    fresh = [one for one in plain if (key := one.untyped_storage()._cdata) not in stored and key not in old]
    found = []
    for shape, dtype, _ in inputs.shapes:
        like = [one for one in fresh if str(one.dtype)[6:] == dtype and _alike(tuple(one.shape), shape)]
        if like:
            found.append(max(like, key=lambda one: (tuple(one.shape) == shape, one.numel())))
    return found


def _copies(living: list[Any], now: list[Any]) -> list[Any]:
    """The copies on a device of the batch that is under way, by shape and dtype: no part of a graph."""
    shapes = {(tuple(shape), dtype) for shape, dtype in now if shape}
    plain = [one for one in living if type(one) is torch.Tensor and one.device.type != "cpu" and not one.requires_grad]
    return [one for one in plain if (tuple(one.shape), str(one.dtype)[6:]) in shapes]


def _of_datasets() -> set[int]:
    """The storages that datasets of the program hold in their attributes."""
    sets = [one for one in gc.get_objects() if issubclass(type(one), torch.utils.data.Dataset)]
    held = (one for dataset in sets for one in tensors(dict(getattr(dataset, "__dict__", {}))))
    return {storage._cdata for one in islice(held, _DATASET) for storage in storages(one)}


def _alike(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return len(one) == len(other) and (
        one == other or (len(one) > 1 and sum(a != b for a, b in zip(one, other, strict=True)) < min(3, len(one)))
    )


def _busiest(ledger: Ledger) -> str:
    """The device that holds most: an exception's text names one only by CUDA's own number."""
    sums = {device: sum(known.values()) for device, known in ledger.bytes.items() if device != "cpu"}
    return max(sums, key=lambda name: sums[name]) if sums else "cpu"


def _address_space() -> dict[str, Any] | None:
    """A limit on this process's address space (`ulimit -v`), where one is set: its bytes and what is taken of it."""
    soft = resource.getrlimit(resource.RLIMIT_AS)[0]
    if soft == resource.RLIM_INFINITY:
        return None
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return {"name": "RLIMIT_AS", "bytes": soft, "used": pages * resource.getpagesize()}


def _share(device: int) -> dict[str, Any] | None:
    """The share of the device that a person has let torch have (`set_per_process_memory_fraction`), and what it has:
    bytes. `None` where torch can't say."""
    fraction = getattr(torch.cuda, "get_per_process_memory_fraction", None)
    counted = allocator.counters(f"cuda:{device}")
    if fraction is None or counted is None:
        return None
    whole = torch.cuda.get_device_properties(device).total_memory
    return {"name": "memory fraction", "bytes": int(fraction(device) * whole), "used": counted["reserved"]}


def _fragments(device: int, wanted: int) -> dict[str, Any]:
    """What the allocator holds for nobody, and the largest piece of it that this request could have had."""
    try:
        segments = [one for one in torch.cuda.memory_snapshot() if one["device"] == device]
    except (RuntimeError, KeyError, TypeError, AttributeError):
        return {"cached": None, "largest_free": None}
    pool = "small" if wanted <= _SMALL else "large"
    free = [(one["segment_type"], block["size"]) for one in segments for block in one["blocks"] if _idle(block)]
    return {
        "cached": sum(size for _, size in free),
        "largest_free": max((size for kind, size in free if kind == pool), default=0),
    }


def _idle(block: dict[str, Any]) -> bool:
    return block["state"] == "inactive"
