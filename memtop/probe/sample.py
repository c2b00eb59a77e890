"""A few samples of a batch, copied while an announced look goes on, and worked out when its step has ended.

Copies are made behind everybody's dispatch modes, draw no random number and wait for no device: from CUDA they go to
pinned memory, without a temporary on the device, and are read once they have arrived. No tensor of the person's is
kept. What can't be copied so is told by its shape alone, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from . import wire
from .guess import guess
from .sample_facts import facts, picture
from .storages import device_name, hollow, solid

_COPY = 2 << 20
"""Bytes copied of one tensor, at most."""
_ROWS = 4096
"""Samples copied of one tensor, at most."""
_TENSORS = 5
"""Tensors told of the loader's batch, and of what enters the root, at most."""


@dataclass
class Copied:
    """One tensor of a batch: what it is, and a copy of its first samples in host memory."""

    told: dict[str, Any]
    values: Any = None
    """`None` where nothing was copied."""


class Samples:
    """The batch of one step: as the loader yields it, and as it reaches the root module."""

    def __init__(self, step: int) -> None:
        self._step = step
        self._taken: dict[str, list[Copied]] = {}
        self._ready: list[Any] = []

    def loaded(self, batch: Any) -> None:
        """A loader has yielded. Of several batches in a step, the first."""
        self._take("loader", batch)

    def entered(self, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        """A root module is called. Of several calls in a step, the first."""
        self._take("root", (*given, named) if named else given)

    def record(self) -> wire.Record | None:
        """What was found, once all copies have arrived; `None` before that. Never waits."""
        if not self._taken or not all(event.query() for event in self._ready):
            return None
        taken = [one for copies in self._taken.values() for one in copies]
        with _alone():
            told = [_facts(one) for one in taken]
            shown = next((i for i, one in enumerate(told) if one["kind"] == "image" and one["looked"]), None)
            drawn = None if shown is None else picture(taken[shown].values, told[shown]) | {"tensor": shown}
        return wire.batch({"step": self._step, "tensors": told, "picture": drawn})

    def tell(self, send: Callable[[wire.Record], None]) -> Samples | None:
        """Send the record; what has not arrived yet is asked again later: then these samples come back."""
        record = self.record()
        if record is not None:
            send(record)
        return self if record is None and self._taken else None

    def _take(self, place: str, batch: Any) -> None:
        if place in self._taken:
            return
        found = []
        for name, tensor in _named(batch, ""):
            if not tensor.requires_grad or place == "loader":
                found.append(self._one(place, name, tensor))
            if len(found) == _TENSORS:
                break
        if found:
            self._taken[place] = found

    def _one(self, place: str, name: str, tensor: Any) -> Copied:
        dtype, shape = str(tensor.dtype)[6:], tuple(int(size) for size in tensor.shape)
        kind, layout = guess(shape, dtype)
        told = {
            "name": name, "place": place, "shape": list(shape), "dtype": dtype, "device": device_name(tensor.device),
            "bytes": tensor.numel() * tensor.element_size(), "kind": kind, "layout": layout, "unread": _unread(tensor),
        }  # fmt: skip
        if told["unread"] is not None:
            return Copied(told)
        try:
            with _alone():
                return Copied(told, self._copy(tensor, told))
        except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
            return Copied(told | {"unread": f"it could not be copied: {type(error).__name__}"})

    def _copy(self, tensor: Any, told: dict[str, Any]) -> Any:
        """The first samples in host memory, or `None` with the reason in `told`."""
        part = tensor.detach()
        if part.dim():
            each = told["bytes"] // max(1, part.shape[0])
            part = part[: max(1, min(_ROWS, _COPY // max(1, each)))]
        if part.device.type == "cpu":
            return _thinned(part).clone(memory_format=torch.contiguous_format)
        if part.numel() * part.element_size() > _COPY:
            told["unread"] = "one sample of it is more than is copied from a device"
            return None
        dense = part.is_contiguous() or (part.dim() == 4 and part.is_contiguous(memory_format=torch.channels_last))
        if not dense:
            told["unread"] = "it has gaps: a copy would take memory on the device"
            return None
        copy = torch.empty_like(part, device="cpu", pin_memory=True)
        copy.copy_(part, non_blocking=True)
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(part.device))
        self._ready.append(event)
        return copy


def _unread(tensor: Any) -> str | None:
    """Why its values can't be looked at."""
    if hollow(tensor):
        return "it is inside a transformation of functions"
    if tensor.layout is not torch.strided:
        return "it is not dense"
    if type(tensor).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        return "it is a tensor of a kind of its own"
    if tensor.device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        return "a CUDA graph is being captured"
    return None if tensor.device.type in ("cpu", "cuda") else f"values on {tensor.device.type} are not read"


def _thinned(part: Any) -> Any:
    """Every so many values of each dimension of a sample, so that a huge one fits."""
    while part.numel() * part.element_size() > _COPY:
        longest = max(range(part.dim()), key=lambda place: part.shape[place])
        steps = [slice(None, None, 2) if place == longest else slice(None) for place in range(part.dim())]
        part = part[tuple(steps)]
    return part


def _facts(one: Copied) -> dict[str, Any]:
    """All that is told of a tensor. A dtype that torch can hold and not convert is told without its values."""
    try:
        return one.told | facts(one.values, one.told)
    except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
        why = f"its values could not be worked out: {type(error).__name__}"
        return one.told | facts(None, one.told) | {"unread": why}


def _named(value: Any, name: str, depth: int = 4) -> Iterator[tuple[str, Any]]:
    """The tensors in a nest, with the way to each: `0`, `image`, `1.mask`."""
    if isinstance(value, torch.Tensor):
        yield name, solid(value) if hollow(value) else value
    elif depth and isinstance(value, (list, tuple)):
        for place, item in enumerate(value):
            yield from _named(item, f"{name}.{place}" if name else str(place), depth - 1)
    elif depth and hasattr(value, "keys") and hasattr(value, "__getitem__"):
        for key in list(value.keys()):
            yield from _named(value[key], f"{name}.{str(key)[:40]}" if name else str(key)[:40], depth - 1)


@contextmanager
def _alone() -> Iterator[None]:
    """No gradients, and nobody's mode sees or changes what is done."""
    with torch.no_grad(), torch._C._DisableTorchDispatch(), torch._C.DisableTorchFunction():
        yield
