"""Where a step begins and ends: torch's global optimizer hooks, and a wrap of `torch.autograd.backward`.

The hooks are always there and cost about a microsecond; the wrap stands around watched steps only. A step ends when
the outermost `optimizer.step()` of the optimizer seen first returns. Every body is guarded: when something of ours
fails, watching ends and training goes on.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from typing import Any, Protocol

import torch


class Watcher(Protocol):
    """Who wants to know. Times are `time.monotonic_ns()`."""

    def backward_begins(self, roots: list[Any]) -> None: ...
    def optimizer_begins(self, optimizer: Any) -> None: ...
    def optimizer_ended(self, optimizer: Any) -> None: ...
    def step_ended(self) -> None: ...
    def quiet_step(self) -> None: ...


class _Nobody:
    """Hears of steps when watching has ended."""

    def backward_begins(self, roots: list[Any]) -> None: ...
    def optimizer_begins(self, optimizer: Any) -> None: ...
    def optimizer_ended(self, optimizer: Any) -> None: ...
    def step_ended(self) -> None: ...
    def quiet_step(self) -> None: ...


class Steps:
    """Finds the moments of each step and tells the watcher."""

    def __init__(self, watcher: Watcher, failed: Callable[[Exception], None]) -> None:
        self._watcher: Watcher = watcher
        self._failed = failed
        self.quiet = False
        """Nobody watches this step: it is only counted. The path that nearly every step takes; keep it short."""
        self._depth = 0
        self._first: weakref.ref[Any] | None = None
        self._original: Any = None

    def install(self) -> None:
        """Register the hooks, for good. Raises `AttributeError` or `ImportError` where this torch has none."""
        from importlib import import_module

        optimizer = import_module("torch.optim.optimizer")
        optimizer.register_optimizer_step_pre_hook(self._pre)
        optimizer.register_optimizer_step_post_hook(self._post)

    def remove(self) -> None:
        """Tell nobody any more. The hooks stay, idle: torch may be walking over them just now, and a hook taken off
        under its feet raises `OrderedDict mutated during iteration` in the person's step."""
        self.watch_backward(False)
        self._watcher, self.quiet = _Nobody(), True

    def watch_backward(self, wanted: bool) -> None:
        """Put the wrap around `torch.autograd.backward` for a watched step, or take it away."""
        if wanted and self._original is None:
            original = self._original = torch.autograd.backward
            torch.autograd.backward = _wrapped(original, self._backward)
        elif not wanted and self._original is not None:
            if getattr(torch.autograd.backward, "_memtop", False):
                torch.autograd.backward = self._original
            self._original = None

    def _backward(self, roots: Any) -> None:
        """Called before backward runs, with what it starts from."""
        if self._original is None:
            return
        try:
            values = roots if isinstance(roots, (list, tuple)) else [roots]
            found = [one for one in values if isinstance(one, torch.Tensor) and one.grad_fn is not None]
            if found:
                self._watcher.backward_begins(found)
        except Exception as error:
            self._failed(error)

    def _pre(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if self._depth and not _inside(sys._getframe(1)):
            # An earlier step raised before its post-hook: it is no longer on the stack.
            self._depth = 0
        self._depth += 1
        if self.quiet or self._depth > 1:
            return
        try:
            if self._first is None or self._first() is None:
                self._first = weakref.ref(optimizer)
            self._watcher.optimizer_begins(optimizer)
        except Exception as error:
            self._failed(error)

    def _post(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self._depth -= 1
        if self._depth > 0:
            return
        try:
            if self.quiet:
                if self._first is None or self._first() in (optimizer, None):
                    self._watcher.quiet_step()
                return
            self._watcher.optimizer_ended(optimizer)
            if self._first is not None and self._first() is optimizer:
                self._watcher.step_ended()
        except Exception as error:
            self._failed(error)


def _inside(frame: Any) -> bool:
    """Whether the hook's caller, torch's wrapper around `step`, stands further up on the stack as well."""
    code, above = frame.f_code, frame.f_back
    while above is not None:
        if above.f_code is code:
            return True
        above = above.f_back
    return False


def _wrapped(original: Any, before: Callable[[Any], None]) -> Any:
    """`original` with `before(tensors)` in front. Its name tells a traceback's reader whose frame it is."""

    def memtop_backward(*args: Any, **kwargs: Any) -> Any:
        before(args[0] if args else kwargs.get("tensors"))
        return original(*args, **kwargs)

    memtop_backward._memtop = True  # type: ignore[attr-defined]
    # What `torch._dynamo.disable` sets, without importing dynamo (2.4 s) for it: a compiled function that calls
    # backward sees no more of us than of the original.
    memtop_backward._torchdynamo_disable = True  # type: ignore[attr-defined]
    memtop_backward._torchdynamo_orig_callable = original  # type: ignore[attr-defined]
    memtop_backward.__wrapped__ = original  # type: ignore[attr-defined]
    memtop_backward.__doc__ = original.__doc__
    return memtop_backward
