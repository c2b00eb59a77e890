"""Tensors to storages: each one counted once and whole, whatever views stand on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef

Key = int
"""The address of a StorageImpl: unlike `data_ptr()`, asking for it never materialises a copy-on-write storage."""


class Held:
    """A storage that we watch without keeping it alive."""

    __slots__ = ("bytes", "device", "dtype", "key", "ref", "shape")

    def __init__(self, storage: Any, tensor: Any = None) -> None:
        """`tensor` is one of this storage, where its shape will be asked for."""
        self.key: Key = storage._cdata
        self.shape = None if tensor is None else tensor.shape
        self.dtype = None if tensor is None else tensor.dtype
        self.bytes: int = storage.nbytes()
        self.device = device_name(storage.device)
        self.ref = StorageWeakRef(storage)

    @property
    def alive(self) -> bool:
        """Whether its memory is still held by somebody."""
        return not self.ref.expired()


_names: dict[Any, str] = {}


def device_name(device: Any) -> str:
    """`cpu`, `cuda:0`: torch's name with its index, cached because formatting it costs more than a look-up."""
    name = _names.get(device)
    if name is None:
        name = _names[device] = (
            str(device) if device.index is not None or device.type in ("cpu", "mps", "meta") else f"{device}:0"
        )
    return name


def hollow(tensor: Any) -> bool:
    """Whether a tensor has no memory of its own: functorch's wrappers of another."""
    return bool(torch._C._functorch.is_functorch_wrapped_tensor(tensor))


def solid(tensor: Any) -> Any:
    """The tensor that functorch's wrappers stand around; the tensor itself where there are none."""
    while hollow(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return tensor


_wraps: dict[type, bool] = {torch.Tensor: False, torch.nn.Parameter: False}


def pieces(value: Any) -> Iterator[Any]:
    """The tensors that hold the bytes of one: itself, or what a subclass around others wraps. The storage of such a one
    is a mere form: a DTensor's is as large as the whole tensor, of which this rank has a shard."""
    kind = type(value)
    wraps = _wraps.get(kind)
    if wraps is None:
        wraps = _wraps[kind] = hasattr(kind, "__tensor_flatten__")
    inner = _inner(value) if wraps else None
    if inner is None:
        yield value
    else:
        for one in inner:
            yield from pieces(one)


def _inner(value: Any) -> list[Any] | None:
    """What a wrapper says that it wraps; `None` where it can't say."""
    try:
        inner = [getattr(value, name) for name in value.__tensor_flatten__()[0]]
    except Exception:  # It is the person's own class.
        return None
    return [one for one in inner if isinstance(one, torch.Tensor)]  # A DTensor names its mesh, too.


def storages(value: Any) -> Iterator[Any]:
    """The storages that hold the bytes of one tensor. Nothing for what has none."""
    for piece in pieces(value):
        yield from own_storages(piece)


def own_storages(value: Any) -> Iterator[Any]:
    """The storages of one tensor: its own, or those of a sparse tensor's parts. Nothing for what has none."""
    try:
        yield value.untyped_storage()
    except (NotImplementedError, RuntimeError, ValueError):
        for part in _parts(value):
            yield part.untyped_storage()


def _parts(value: Any) -> list[Any]:
    layout = getattr(value, "layout", None)
    if layout is torch.sparse_coo:
        return [value._indices(), value._values()]
    if layout in (torch.sparse_csr, torch.sparse_bsr):
        return [value.crow_indices(), value.col_indices(), value.values()]
    return []


def tensors(value: Any, depth: int = 4) -> Iterator[Any]:
    """The tensors in a nest of lists, tuples, dicts and mappings, `depth` levels down."""
    if isinstance(value, torch.Tensor):
        yield value
    elif depth and isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors(item, depth - 1)
    elif depth and isinstance(value, dict):
        for item in value.values():
            yield from tensors(item, depth - 1)
    elif depth and hasattr(value, "keys") and hasattr(value, "__getitem__"):
        for key in value.keys():  # noqa: SIM118 - a mapping of somebody's own (BatchEncoding) need not iterate by keys
            yield from tensors(value[key], depth - 1)


class Ledger:
    """Bytes by device and category; a storage belongs to the first category that claims it."""

    def __init__(self) -> None:
        self.seen: set[Key] = set()
        self.bytes: dict[str, dict[str, int]] = {}

    def claim(self, category: str, values: Iterable[Any]) -> None:
        """Count the storages of these tensors under `category`, those not yet claimed."""
        seen = self.seen
        for value in values:
            for storage in storages(value):
                key = storage._cdata
                if key not in seen:
                    seen.add(key)
                    self._add(category, device_name(storage.device), storage.nbytes())

    def claim_held(self, category: str, held: Iterable[Held]) -> None:
        """The same for storages we only watch: those still alive."""
        for one in held:
            if one.key not in self.seen and one.alive:
                self.seen.add(one.key)
                self._add(category, one.device, one.bytes)

    def leave_out(self, values: Iterable[Any]) -> None:
        """Count the storages of these tensors nowhere."""
        self.seen.update(storage._cdata for value in values for storage in storages(value))

    def _add(self, category: str, device: str, count: int) -> None:
        by_category = self.bytes.get(device)
        if by_category is None:
            by_category = self.bytes[device] = {}
        by_category[category] = by_category.get(category, 0) + count
