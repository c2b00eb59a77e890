"""Reads of a tensor's values that are no operator: `.tolist()`, `.cpu()` on the CPU, printing.

For the time of a look these methods of `torch.Tensor` have a wrap around them that says who called. It is left out
where somebody could tell the difference: where anything is compiled, where a mode of the person's handles torch
functions, and where a class of the person's does so by the functions' identity.
"""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from .forwards import compiling

if TYPE_CHECKING:
    from .look import Look

_NAMES = ("tolist", "cpu", "__repr__")


class Reads:
    """The wraps, while they stand."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._thread = threading.get_ident()
        self._depth = 0
        self._before: dict[str, Any] = {}
        """What the class itself had under these names; `None` for what it inherits."""

    def enter(self) -> None:
        """Put the wraps there, if nobody minds."""
        if (
            compiling()
            or torch._C._len_torch_function_stack()
            or any(_handles(kind) for kind in _classes(torch.Tensor))
        ):
            return
        for name in _NAMES:
            self._before[name] = torch.Tensor.__dict__.get(name)
            setattr(torch.Tensor, name, self._wrapped(name, getattr(torch.Tensor, name)))

    def leave(self) -> None:
        """As it was. A wrap that somebody has put over ours stays, and ours below it is idle."""
        for name, before in self._before.items():
            if getattr(torch.Tensor.__dict__.get(name), "__name__", "") != "memtop_read":
                continue
            if before is None:
                delattr(torch.Tensor, name)
            else:
                setattr(torch.Tensor, name, before)
        self._before = {}
        self._thread = 0  # A wrap that stays is idle.

    def _note(self, name: str, tensor: Any, elapsed_ns: int) -> None:
        """A method has read `tensor`. Of one on a device only printing is no operator."""
        look = self._look
        try:
            device = tensor.device.type
            if device == "cpu" or name == "__repr__":
                look.syncs.read(name.strip("_"), device, sys._getframe(2), look.phase, elapsed_ns)
        except Exception as error:
            look.failed(error)

    def _wrapped(self, name: str, original: Any) -> Any:
        """The method with a word after it."""

        def memtop_read(self: Any, *args: Any, **kwargs: Any) -> Any:
            if reads._depth or threading.get_ident() != reads._thread:
                return original(self, *args, **kwargs)
            reads._depth, began = 1, time.monotonic_ns()
            try:
                result = original(self, *args, **kwargs)
            finally:
                reads._depth = 0
            reads._note(name, self, time.monotonic_ns() - began)
            return result

        reads = self
        functools.update_wrapper(memtop_read, original)
        memtop_read.__name__ = "memtop_read"
        return memtop_read


def _classes(kind: type) -> Iterator[type]:
    one: type
    for one in type.__subclasses__(kind):
        yield one
        yield from _classes(one)


def _handles(kind: type) -> bool:
    """Whether a class of the person's handles torch functions in a way of its own."""
    return "__torch_function__" in kind.__dict__ and kind.__module__.partition(".")[0] != "torch"
