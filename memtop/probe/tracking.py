"""Marks of `memtop.track()`: which tensors have come and gone since the mark before, and how much is alive.

Found are the tensors that Python can see: the garbage collector's objects, and the gradients that hang on them. Not
found is what C++ holds alone (what autograd saved) and what `gc.freeze` has put aside. Bytes of a tensor are its
elements times the size of one, views included, as line trackers count; of a sparse tensor those of its indices' and
values' storages. A tensor with no memory of its own (a fake one, a jagged one, a subclass around others, functorch's)
is left out: what it wraps is a tensor by itself.

Nothing here keeps a tensor alive, and nothing is put on one: a Python weak reference on a parameter makes
`torch.utils.swap_tensors`, and so some `module.to(...)`, raise. A tensor is known by the address of its C++ object
together with its storage's, and a weak reference to the storage sees to it that none is given out a second time.
"""

from __future__ import annotations

import gc
import json
import math
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, Protocol

import torch

from . import runtime, wire
from .storages import Held, device_name, own_storages

_GROUPS = 2000
"""The most groups told of, on each side."""
_ROOM = 450_000
"""The most characters of JSON for them, on each side: a line over 1 MB is not accepted by the monitor."""
_LABEL = 200
"""The longest label and kind told, characters."""


class Group(NamedTuple):
    """What tensors have in common that are told together."""

    shape: tuple[int, ...]
    dtype: str
    kind: str
    """`Parameter`, `Tensor`, or the class."""
    device: str


class Identity(NamedTuple):
    """One tensor, as it is now: given another storage or shape, it counts as gone and come."""

    address: int
    """Of the TensorImpl."""
    storage: int
    """Of the StorageImpl."""
    group: Group


class Scan(NamedTuple):
    """All tensors of the process at one time, none of them kept alive."""

    tensors: dict[Identity, int]
    """Bytes of each."""
    storages: dict[int, Held]
    unread: int
    """Tensors that could not be read."""

    @property
    def total(self) -> int:
        """Bytes of the storages, each once and whole. Tensors on `meta` have none."""
        return sum(held.bytes for held in self.storages.values() if held.device != "meta")


class Link(Protocol):
    """Where the marks go."""

    @property
    def alive(self) -> bool: ...
    def send(self, record: wire.Record) -> None: ...


def mark(label: object, frame: FrameType | None) -> None:
    """One mark of the person's, at the line that `frame` stands on. Raises nothing."""
    probe = runtime._probe
    if probe is not None and probe._link.alive:
        _marks.mark(probe._link, label, frame)


class Marks:
    """The marks of this process, one after another, whichever thread sets them."""

    def __init__(self) -> None:
        self._before = Scan({}, {}, 0)
        self._lock = threading.RLock()
        self._busy = False

    def mark(self, link: Link, label: object, frame: FrameType | None) -> None:
        """Compare with the mark before and tell. A failure is told too; none reaches the caller."""
        with self._lock:
            if self._busy:  # a signal handler's or a finalizer's mark, in the middle of ours
                return
            self._busy = True
            place = ""
            try:
                place = _place(frame)
                link.send(self._compared(place, _text(label)))
            except Exception as error:
                words = f"memtop.track() at {place or 'an unknown line'} failed: {type(error).__name__}"
                link.send(wire.event("warning", words))
            finally:
                self._busy = False

    def _compared(self, place: str, label: str) -> wire.Record:
        started = time.monotonic_ns()
        before, now = self._before, scan()
        self._before = now
        gained = [(one.group, size) for one, size in now.tensors.items() if one not in before.tensors]
        lost = [(one.group, size) for one, size in before.tensors.items() if one not in now.tensors]
        data = {"gained": grouped(gained), "lost": grouped(lost), "total": now.total, "unread": now.unread}
        message = f"{place}{' ' * bool(label)}{label}: {len(gained)} tensors gained, {len(lost)} lost"
        spent = time.monotonic_ns() - started
        return wire.event("track", message, place=place, label=label, **data, spent_ns=spent)


_marks = Marks()


def scan() -> Scan:
    """Every tensor that Python can see, now. Asks `type(o)`, never `o.__class__`: a proxy could run code for that."""
    kind = torch.Tensor
    alive = [one for one in gc.get_objects() if issubclass(type(one), kind)]
    found, unread = Scan({}, {}, 0), 0
    with _unseen():
        for one in _with_gradients(alive):
            try:
                _note(found, one)
            except Exception:
                unread += 1
    return found._replace(unread=unread)


@contextmanager
def _unseen() -> Iterator[None]:
    """Questions asked in here reach no mode and no subclass of the person's, and leave no trace in autograd."""
    with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch(), torch._C._AutoDispatchBelowAutograd():
        yield


def _with_gradients(alive: list[Any]) -> Iterator[Any]:
    """The tensors and their gradients. A gradient has no Python object before somebody has asked for it."""
    for one in alive:
        yield one
        try:
            gradient = one.grad if one.is_leaf or one.retains_grad else None
        except Exception:
            continue  # what can't say whether it has a gradient has none
        if gradient is not None:
            yield gradient


def _note(found: Scan, tensor: Any) -> None:
    """Write down one tensor; nothing for one that has no memory of its own."""
    parts = list(own_storages(tensor))
    if not parts or (type(tensor).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__ and _hollow(parts[0])):
        return
    for part in parts:
        if part._cdata not in found.storages:
            found.storages[part._cdata] = Held(part)
    itemsize = tensor.dtype.itemsize
    shape = _shape(tensor, parts[0].nbytes() // itemsize)
    size = math.prod(shape) * itemsize if len(parts) == 1 else sum(part.nbytes() for part in parts)
    group = Group(shape, str(tensor.dtype)[6:], _text(type(tensor).__name__), device_name(tensor.device))
    found.tensors[Identity(tensor._cdata, parts[-1]._cdata, group)] = size


def _hollow(storage: Any) -> bool:
    """Whether a subclass's storage is a mere form: on `meta`, or with bytes at no address."""
    try:
        return storage.device.type == "meta" or (storage.data_ptr() == 0 and storage.nbytes() != 0)
    except (NotImplementedError, RuntimeError):
        return True


def _shape(tensor: Any, elements: int) -> tuple[int, ...]:
    """The sizes; of a tensor that has none to tell (nested, not yet initialised) all its elements in a row."""
    try:
        sizes = tuple(tensor.shape)
    except (NotImplementedError, RuntimeError, ValueError):
        return (elements,)
    # A symbolic size must not be asked for its number: that would narrow what the compiler assumes of it.
    return sizes if all(type(size) is int for size in sizes) else (elements,)


def grouped(tensors: Iterable[tuple[Group, int]]) -> list[dict[str, Any]]:
    """Groups with count and bytes, most bytes first. What does not fit is one entry of empty shape, dtype and kind."""
    sums: dict[Group, list[int]] = {}
    for group, size in tensors:
        both = sums.setdefault(group, [0, 0])
        both[0] += 1
        both[1] += size
    told: list[dict[str, Any]] = []
    room, rest = _ROOM, [0, 0]
    for group, (count, size) in sorted(sums.items(), key=lambda item: (-item[1][1], item[0])):
        entry = group._asdict() | {"shape": list(group.shape), "count": count, "bytes": size}
        room -= len(json.dumps(entry))
        if len(told) < _GROUPS and room >= 0:
            told.append(entry)
        else:
            rest = [rest[0] + count, rest[1] + size]
    if rest[0]:
        told.append({"shape": [], "dtype": "", "kind": "", "device": "", "count": rest[0], "bytes": rest[1]})
    return told


def _place(frame: FrameType | None) -> str:
    """`train.py:31`; empty where no Python line called."""
    return "" if frame is None else f"{_text(Path(frame.f_code.co_filename).name)}:{frame.f_lineno}"


def _text(words: object) -> str:
    """Short, and sure to pass as UTF-8."""
    return str(words)[:_LABEL].encode("utf-8", "replace").decode()
