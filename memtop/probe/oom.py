"""The picture of an out-of-memory error: what was held at that instant, what was asked for, and from which line.

Nothing is hooked to see one. CUDA's allocator has observers that run before the exception is raised. On the CPU there
are none: Python 3.12 and newer tell of each exception that is raised (`raises.py`). Before, one that ends the program
is found at exit, where Python leaves it (`sys.last_value`; the traceback's frames keep alive what was held), and one
that the program catches is seen where it passes through a backward or an operator that we watch: in an unwatched step
of the CPU it is not.
"""

from __future__ import annotations

import contextlib
import gc
import re
import sys
import time
from collections.abc import Callable
from itertools import islice
from types import FrameType, TracebackType
from typing import Any, NamedTuple

import torch

from . import allocator, graph, limits, wire
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
_ROUNDED = re.compile(r"(?:Tried|Unable) to allocate ([\d.]+) (bytes|KiB|MiB|GiB|TiB|PiB)")
"""CUDA's allocator, and numpy."""
_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50}
_WORKER = re.compile(r"Caught \w+ in DataLoader worker process (\d+)")
_FILES = re.compile(r'^ *File "([^"]+)", line (\d+), in (.+)$', re.M)
_TEXTS = ("DefaultCPUAllocator: ", "CUDA out of memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
_HALVES = (torch.float16, torch.bfloat16)
_DATASET = 100_000
"""Tensors of datasets that are looked at."""
_SMALL = 1 << 20
"""Bytes up to which CUDA's allocator serves a request from its pool of small blocks."""


class Where(NamedTuple):
    """Where memory ran out."""

    place: Place | None
    """The person's line."""
    module: int
    """The `id` of the innermost module that ran; 0 for none."""
    given: list[Any]
    """What the outermost module was called with."""
    named: list[Any]
    """Tensors that the person's functions had in variables, once those are over."""


def is_oom(error: BaseException | None) -> bool:
    """Whether an exception says that memory ran out: by its type, by torch's own words only after that."""
    kind = getattr(torch, "OutOfMemoryError", None) or torch.cuda.OutOfMemoryError
    if isinstance(error, (kind, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _TEXTS)


def asked(text: str) -> int | None:
    """The bytes that the failed allocation asked for, off the exception's text: rounded there by CUDA and numpy."""
    if found := _CPU.search(text):
        return int(found[1])
    if found := _ROUNDED.search(text):
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

    def passing(self, error: BaseException | None, unwound: bool = False) -> None:
        """An exception passes through a place of ours; whether it will be caught is not known yet. `unwound`: torch's
        own code has been left."""
        if error is not None and is_oom(error):
            trace = error.__traceback__
            self._tell(str(error), lambda places: _on_the_way(places, trace), fatal=False, unwound=unwound)

    def at_exit(self) -> None:
        """The program ends. If it ends by running out of memory, Python has left the exception where it is found."""
        error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
        if error is not None and is_oom(error):
            trace = error.__traceback__ or getattr(sys, "last_traceback", None)
            self._tell(str(error), lambda places: _in_traceback(places, trace, over=True), fatal=True, unwound=True)

    def _observed(self, device: int, wanted: int, total: int, free: int) -> None:
        """CUDA's allocator gives up. Called before the exception, outside of its lock, on whichever thread asked."""
        share = _share(f"cuda:{device}")
        free_now = free if share is None else max(0, min(free, share["bytes"] - share["used"]))
        facts = {"device": f"cuda:{device}", "asked": wanted, "device_free": free_now}
        facts |= {"limit": share if free_now < free else None} | _fragments(device, wanted)
        self._tell("CUDA out of memory", _on_stack, fatal=False, facts=facts)

    def _tell(
        self, text: str, where: Callable[[Places], Any], fatal: bool, facts: Any = None, unwound: bool = False
    ) -> None:
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
            words = (text.strip().splitlines() or [""])[0][:300]
            self._link.send(wire.event("oom", words, **picture, fatal=fatal, unwound=unwound))

    def _picture(self, text: str, where: Callable[[Places], Any], device: str | None) -> dict[str, Any]:
        if self._tracker.blind:
            self._tracker.scan()
        notes = set(self._tracker.notes)
        found = where(Places())
        place, module = found.place, found.module
        worker = _WORKER.match(text)
        if worker is not None:
            place, module = _in_words(text) or place, 0
        ledger, likely, half = self._census(notes, found)
        del found
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
            "limit": limits.as_told(limits.tightest()) if device == "cpu" else None,
            "half": half,
            "worker": None if worker is None else int(worker[1]),
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

    def _census(self, notes: set[str], found: Where) -> tuple[Ledger, list[Any], bool]:
        """Everything that Python or the graph behind it holds, by category; the tensors that are the batch, as far as
        their dtype and shape tell; and whether anything that takes a gradient is kept in half precision."""
        living = [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor)]
        ledger = self._tracker.held()
        own = [one for one in living if all(each._cdata not in ledger.seen for each in storages(one))]
        likely = [] if self._inputs.is_current else _batch(own, self._inputs, found)
        ledger.claim("inputs", likely)
        ledger.claim("inputs", _copies(living, self._now(likely)))
        roots = [one for one in living if one.grad_fn is not None]
        kept = [*graph.saved(roots, notes), *roots]
        ledger.claim("activations", kept)
        ledger.claim("other_tensors", living)
        return ledger, likely, any(getattr(one, "dtype", None) in _HALVES for one in kept)


def _kind(text: str) -> str:
    return "cuda" if "CUDA" in text or "CUBLAS" in text else "cpu"


def _in_words(text: str) -> Place | None:
    """The innermost line of a traceback's text that is no library's."""
    found = [one.groups() for one in _FILES.finditer(text)]
    mine = [one for one in found if "site-packages" not in one[0] and "/lib/python" not in one[0]]
    return None if not mine else (mine[-1][0], int(mine[-1][1]), mine[-1][2])


def _told(place: Place) -> dict[str, Any]:
    return {"file": place[0], "line": place[1], "function": place[2], "text": text_of(place)}


def _in_traceback(places: Places, trace: TracebackType | None, over: bool = False) -> Where:
    """By a traceback. Where its frames are `over`, reading their locals keeps nothing alive that it does not. The dict
    that is read of one that runs would stay: there only frames of modules are asked, which rebind nothing."""
    place, module = None, 0
    given: list[Any] = []
    named: list[Any] = []
    while trace is not None:
        code = trace.tb_frame.f_code
        if places.is_call(code):
            given = given if module else _given(trace.tb_frame)
            module = id(trace.tb_frame.f_locals["self"])
        elif places.is_mine(code):
            place = (code.co_filename, trace.tb_lineno, code.co_name)
            if over:
                named += [one for one in trace.tb_frame.f_locals.values() if type(one) is torch.Tensor]
        trace = trace.tb_next
    return Where(place, module, given, named)


def _given(frame: FrameType) -> list[Any]:
    """The tensors that a module was called with."""
    return list(islice(tensors([frame.f_locals.get("args"), frame.f_locals.get("kwargs")]), _DATASET))


def _on_the_way(places: Places, trace: TracebackType | None) -> Where:
    """The same of an exception that is still rising: what runs above, and what it has passed."""
    place, module, given, _ = _in_traceback(places, trace)
    above = _on_stack(places)
    return Where(place or above.place, module or above.module, above.given or given, [])


def _on_stack(places: Places) -> Where:
    """The same for what runs just now. Autograd's threads have no Python: the main thread's line called backward."""
    import threading

    frame: FrameType | None = sys._getframe()
    number, module, _ = places.find(frame)
    if number < 0:
        frame = sys._current_frames().get(threading.main_thread().ident or 0)
        number, module, _ = places.find(frame)
    outermost: FrameType | None = None
    while frame is not None:
        outermost = frame if places.is_call(frame.f_code) else outermost
        frame = frame.f_back
    given = [] if outermost is None else _given(outermost)
    return Where(places.known[number] if number >= 0 else None, module, given, [])


def _batch(living: list[Any], inputs: Inputs, where: Where) -> list[Any]:
    """For each tensor of the last batch seen the one that stands in its place now.

    What the outermost module was given, if that has as many dimensions. Else of the living tensors one of the same
    dtype and shape; else one that the person's functions have named, the samples as large as before; else the largest
    that differs in two dimensions at most. Tensors of a dataset are none, nor is that old batch while another is there.
    """
    plain = [one for one in living if type(one) is torch.Tensor and not one.requires_grad and one.dim()]
    kinds = {(dtype, len(shape)) for shape, dtype, _ in inputs.shapes}
    plain = [one for one in plain if (str(one.dtype)[6:], one.dim()) in kinds]
    stored = _of_datasets() if plain else set()
    old = {held.key for held in inputs.held if held.alive}
    fresh = [one for one in plain if (key := one.untyped_storage()._cdata) not in stored and key not in old]
    found = []
    for shape, dtype, _ in inputs.shapes:
        entered = [one for one in where.given if str(one.dtype)[6:] == dtype and one.dim() == len(shape)]
        if entered:
            found.append(entered[0])
            continue
        kind = [one for one in fresh if str(one.dtype)[6:] == dtype and one.dim() == len(shape)]
        named = {id(one) for one in where.named if tuple(one.shape[1:]) == shape[1:]}
        like = [one for one in kind if _alike(tuple(one.shape), shape) or id(one) in named]
        if like:
            found.append(max(like, key=lambda one: (tuple(one.shape) == shape, id(one) in named, one.numel())))
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


def _share(device: str) -> dict[str, Any] | None:
    """The share of the device that a person has let torch have, and what it has: bytes. `None` where none is set."""
    size, counted = allocator.share(device), allocator.counters(device)
    return (
        None if size is None or counted is None else {"name": limits.SHARE, "bytes": size, "used": counted["reserved"]}
    )


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
