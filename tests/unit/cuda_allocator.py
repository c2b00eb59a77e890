"""A stand-in for CUDA's caching allocator: its rules, counters, record and snapshot, without a device.

Written after c10/cuda/CUDACachingAllocator.cpp (torch 2.13): best fit in two pools, blocks split and merged,
segments of 2 MiB, 20 MiB, or as large as is asked for. It knows nothing of memtop, and keeps the peaks that a test
compares with.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from memtop.probe import look, mode, storages

MIB = 1024**2
UNIT = 512


@dataclass(eq=False)
class Piece:
    """A block: of a segment, in use or free."""

    address: int
    size: int
    small: bool
    requested: int = 0
    state: str = "inactive"
    before: Piece | None = None
    after: Piece | None = None


class Native:
    """One device's allocator."""

    def __init__(self) -> None:
        self.pieces: dict[int, Piece] = {}
        self.current = dict.fromkeys(("requested", "allocated", "active", "reserved"), 0)
        self.peak = dict(self.current)
        self.highest_live = 0
        """The most that blocks in use asked for, since the last `reset_peak`."""
        self.live = 0
        self.taken = self.freed = 0
        self.enabled = False
        self.limit = 1
        self.ring: list[dict[str, Any]] = []
        self.switched: list[tuple[Any, ...]] = []
        """What recording was switched to, in order."""
        self.frames = False
        """Whether the record takes tracebacks: the program's own does."""
        self.splits = True
        """A pool made with `no_split` gives whole segments."""
        self._next = 0x7F0000000000

    # -- what the program does ---------------------------------------------------------------------------------------

    def malloc(self, requested: int) -> int:
        """A block; its address."""
        size = max(UNIT, -(-requested // UNIT) * UNIT)
        small = size <= MIB
        fits = [one for one in self.pieces.values() if self._is_free(one) and one.small == small and one.size >= size]
        piece = min(fits, key=lambda one: (one.size, one.address)) if fits else self._segment(size, small)
        if self.splits and (piece.size - size >= UNIT if small else piece.size - size > MIB):
            self._split(piece, size)
        piece.requested, piece.state = requested, "active_allocated"
        self._trace("alloc", piece.address, requested)
        self.taken += 1
        self._count(requested=requested, allocated=piece.size, active=piece.size)
        self.live += requested
        self.highest_live = max(self.highest_live, self.live)
        return piece.address

    def free(self, address: int, waits: bool = False) -> None:
        """The block is given back; it can be used again at once, or when `complete` is called."""
        piece = self.pieces[address]
        assert piece.state == "active_allocated"
        piece.state = "active_pending_free"
        self.freed += 1
        self._count(allocated=-piece.size)
        self.live -= piece.requested
        self._trace("free_requested", address, piece.requested)
        if not waits:
            self.complete(address)

    def complete(self, address: int) -> None:
        """No other stream waits for a freed block any more."""
        piece = self.pieces[address]
        self._trace("free_completed", address, piece.requested)
        self._count(active=-piece.size, requested=-piece.requested)
        piece.state = "inactive"
        for other in (piece.before, piece.after):
            if other is not None and self._is_free(other):
                self._merge(*sorted((piece, other), key=lambda one: one.address))
                piece = other if other.address in self.pieces else piece

    def empty_cache(self) -> None:
        """Segments without a block in use go back to the driver."""
        for piece in list(self.pieces.values()):
            if self._is_free(piece) and piece.before is None and piece.after is None:
                self._trace("segment_free", piece.address, piece.size)
                self._count(reserved=-piece.size)
                del self.pieces[piece.address]

    def reset_peak(self) -> None:
        self.peak, self.highest_live = dict(self.current), self.live

    # -- what torch._C tells -----------------------------------------------------------------------------------------

    def stats(self, device: int) -> dict[str, Any]:
        told: dict[str, Any] = {
            f"{name}_bytes": {"all": {"current": self.current[name], "peak": self.peak[name]}} for name in self.current
        }
        blocks = {"current": self.taken - self.freed, "allocated": self.taken, "freed": self.freed}
        return told | {"allocation": {"all": blocks}, "num_alloc_retries": 0}

    def record(self, enabled: str | None, context: str | None, stacks: str, max_entries: int, *more: Any) -> None:
        self.switched.append((enabled, context, stacks, max_entries))
        self.enabled, self.limit = enabled is not None, max_entries if enabled == "all" else 1
        if enabled is None:
            self.ring.clear()

    def snapshot(self, pool: Any = None) -> dict[str, Any]:
        segments = [
            self._told(one) for one in sorted(self.pieces.values(), key=lambda one: one.address) if not one.before
        ]
        self._trace("snapshot", 0, self.current["active"])
        settings = {"max_split_size": -1, "expandable_segments": False}
        return {"segments": segments, "device_traces": [list(self.ring)], "allocator_settings": settings}

    def _told(self, piece: Piece | None) -> dict[str, Any]:
        assert piece is not None
        first, blocks = piece, []
        while piece is not None:
            told = {"address": piece.address, "size": piece.size, "requested_size": piece.requested}
            blocks.append(told | {"state": piece.state, "frames": []})
            piece = piece.after
        facts = {"device": 0, "address": first.address, "total_size": sum(one["size"] for one in blocks)}
        return facts | {"segment_type": "small" if first.small else "large", "blocks": blocks, "is_expandable": False}

    # -- inside ------------------------------------------------------------------------------------------------------

    def _is_free(self, piece: Piece) -> bool:
        return piece.state == "inactive"

    def _segment(self, size: int, small: bool) -> Piece:
        whole = 2 * MIB if small else 20 * MIB if size < 10 * MIB else -(-size // (2 * MIB)) * 2 * MIB
        piece = self.pieces[self._next] = Piece(self._next, whole, small)
        self._next += whole  # The next segment lies right behind, as it may.
        self._count(reserved=whole)
        self._trace("segment_alloc", piece.address, whole)
        return piece

    def _split(self, piece: Piece, size: int) -> None:
        rest = Piece(piece.address + size, piece.size - size, piece.small, before=piece, after=piece.after)
        if piece.after is not None:
            piece.after.before = rest
        piece.after, piece.size = rest, size
        self.pieces[rest.address] = rest

    def _merge(self, first: Piece, second: Piece) -> None:
        first.size, first.after = first.size + second.size, second.after
        if second.after is not None:
            second.after.before = first
        del self.pieces[second.address]

    def _count(self, **changes: int) -> None:
        for name, change in changes.items():
            self.current[name] += change
            self.peak[name] = max(self.peak[name], self.current[name])

    def _trace(self, action: str, address: int, size: int) -> None:
        if self.enabled:
            entry = {"action": action, "addr": address, "size": size, "stream": 0, "time_us": time.time_ns() // 1000}
            self.ring.append(entry | ({"frames": [{"filename": "theirs.py"}]} if self.frames else {}))
            del self.ring[: -self.limit]


class Card(TorchDispatchMode):
    """A device whose tensors are torch's `meta` ones: while it is entered, their storages get blocks of an allocator.

    A look stands above it, so blocks are taken and given back inside the operators that the look sees.
    """

    def __init__(self, scratch: Callable[[Any], int] = lambda operator: 0) -> None:
        """`scratch`: bytes that an operator takes for itself, after its result; negative: before it."""
        super().__init__()
        self.allocator = Native()
        self._scratch = scratch
        self._known: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        scratch = self._scratch(func)
        if scratch < 0:
            self.allocator.free(self.allocator.malloc(-scratch))
        result = func(*args, **(kwargs or {}))
        for one in tree_leaves(result):
            if isinstance(one, torch.Tensor) and one.is_meta:
                self.hold(one)
        if scratch > 0:
            self.allocator.free(self.allocator.malloc(scratch))
        return result

    def hold(self, tensor: Any) -> None:
        """The tensor's storage has a block, from now until it dies."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._known and storage.nbytes():
            self._known[storage._cdata] = self.allocator.malloc(storage.nbytes())
            weakref.finalize(storage, self._died, storage._cdata)

    def move(self, storage: Any, size: int) -> None:
        """The storage is resized: a new block, then the old one is free."""
        old = self._known[storage._cdata]
        self._known[storage._cdata] = self.allocator.malloc(size)
        storage.resize_(size)
        self.allocator.free(old)

    def address(self, tensor: Any) -> int:
        """Where a tensor's memory is."""
        return self._known.get(tensor.untyped_storage()._cdata, 0)

    def _died(self, key: int) -> None:
        if (address := self._known.pop(key, None)) is not None:
            self.allocator.free(address)

    def patch(self, monkeypatch: Any) -> None:
        """torch has this device, and its `meta` tensors are on it."""
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
        monkeypatch.setattr(torch.cuda, "get_allocator_backend", lambda: "native")
        monkeypatch.setattr(torch._C, "_cuda_memoryStats", self.allocator.stats, raising=False)
        monkeypatch.setattr(torch._C, "_cuda_memorySnapshot", self.allocator.snapshot, raising=False)
        monkeypatch.setattr(torch._C, "_cuda_record_memory_history", self.allocator.record, raising=False)
        monkeypatch.setattr(torch._C, "_cuda_isHistoryEnabled", lambda: self.allocator.enabled, raising=False)
        monkeypatch.setitem(storages._names, torch.device("meta"), "cuda:0")
        for part in (look, mode):
            monkeypatch.setattr(part, "address", self.address)
