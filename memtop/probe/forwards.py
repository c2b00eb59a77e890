"""Calls of root modules, seen by a wrap of `torch.nn.Module.__call__`: the steps of a program that only infers, and
what feeds a model that no loader feeds.

The wrap costs every module call a fraction of a microsecond. It stands while nobody has trained yet, and around
announced looks; in a program that never trains it stays, for nothing else shows its steps. It never stands while
Dynamo compiles: `torch.compile` asks whether `__call__` is torch's own. Setting an attribute of a class so often
would cost CPython its caches for good (3.13 and newer give up after 1,000 times), so there is an end to that, too.
"""

from __future__ import annotations

import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Protocol

import torch

_CHANGES = 200
"""How often the wrap may come, in the life of a process."""
_CALLS = 200
"""Calls in a row by which the price of the wrap is found."""


class Watcher(Protocol):
    """Who wants to know. Called on the thread of the call, outside of every module."""

    def forward_begins(self, root: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None: ...
    def forward_ended(self, root: Any, result: Any, calls: int) -> None: ...


class Forwards:
    """The wrap, and who it tells."""

    def __init__(self, watcher: Watcher, failed: Callable[[Exception], None]) -> None:
        self._watcher = watcher
        self._failed = failed
        self._original: Any = None
        self._wrap: Any = None
        self._changes = 0
        self._over = False
        self.thread = 0
        """The thread whose root call runs; 0 where none does. Others' calls are not told meanwhile."""
        self.calls = 0
        """Calls of modules inside the running root call."""

    @property
    def on(self) -> bool:
        """Whether root calls are told."""
        return self._wrap is not None

    def watch(self, wanted: bool) -> None:
        """Put the wrap in, or take it away. Where `torch.compile` is in use it does not come."""
        if wanted and self._wrap is None and not self._over:
            if compiling() or self._changes >= _CHANGES:
                return
            self._changes += 1
            self._original = torch.nn.Module.__call__
            self._wrap = torch.nn.Module.__call__ = _wrapped(self._original, self)
        elif not wanted and self._wrap is not None:
            wrap, self._wrap = self._wrap, None
            if torch.nn.Module.__call__ is wrap:
                torch.nn.Module.__call__ = self._original
            self._mend(wrap)

    def remove(self) -> None:
        """For good: something compiles, or watching has ended."""
        self._over = True
        self.watch(False)

    def _mend(self, wrap: Any) -> None:
        """Dynamo, imported while the wrap stood, has taken it for torch's own."""
        known = sys.modules.get("torch._dynamo.utils")
        if known is not None and getattr(known, "unpatched_nn_module_call", None) is wrap:
            known.unpatched_nn_module_call = self._original  # type: ignore[attr-defined]

    def begins(self, root: Any, given: tuple[Any, ...], named: dict[str, Any]) -> bool:
        """A module is called from outside of every module. Whether its end shall be told."""
        if self._wrap is None or torch.jit.is_tracing():
            return False
        self.thread, self.calls = threading.get_ident(), 0
        try:
            self._watcher.forward_begins(root, given, named)
        except Exception as error:
            self._failed(error)
        return True

    def ended(self, root: Any, result: Any) -> None:
        """That call has returned."""
        self.thread = 0
        if self._wrap is None:
            return
        try:
            self._watcher.forward_ended(root, result, self.calls)
        except Exception as error:
            self._failed(error)


def compiling() -> bool:
    """Whether `torch.compile` was called in this process."""
    dynamo = sys.modules.get("torch._dynamo.eval_frame")
    backends = getattr(dynamo, "cached_backends", {0: dynamo})  # Code that is only exempted stands there with `None`.
    return any(one is not None for one in backends.values())


class Roots:
    """Which root's call closes a step, in a program whose steps are forward passes.

    The first that holds parameters; when another has been called twice and the first not once, that one.
    """

    def __init__(self) -> None:
        self._first: weakref.ref[Any] | None = None
        self._others: set[int] = set()
        self._trained: dict[int, tuple[weakref.ref[Any], bool]] = {}

    def trained(self, root: Any) -> bool:
        """Whether a root holds parameters: a loss or a transformation of the data does not."""
        known = self._trained.get(id(root))
        if known is None or known[0]() is not root:
            known = self._trained[id(root)] = (weakref.ref(root), next(root.parameters(), None) is not None)
        return known[1]

    def closes(self, root: Any) -> bool:
        """Whether the call of this root that has just ended ends a step."""
        first = None if self._first is None else self._first()
        if first is root:
            self._others.clear()
            return True
        if not self.trained(root):
            return False
        if first is not None and id(root) not in self._others:
            self._others.add(id(root))
            return False
        self._first = weakref.ref(root)
        self._others.clear()
        return True


def price() -> float:
    """What the wrap adds to a module's call, nanoseconds."""
    forwards = Forwards(_Nobody(), lambda error: None)
    forwards.thread = -1
    plain: Any = _nothing
    return max(1.0, _timed(_wrapped(plain, forwards)) - _timed(plain))


def _timed(call: Any) -> float:
    best = 1 << 62
    for _ in range(5):
        began = time.perf_counter_ns()
        for _ in range(_CALLS):
            call(None, 1)
        best = min(best, time.perf_counter_ns() - began)
    return best / _CALLS


def _nothing(self: Any, *args: Any, **kwargs: Any) -> None: ...


class _Nobody:
    def forward_begins(self, root: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None: ...
    def forward_ended(self, root: Any, result: Any, calls: int) -> None: ...


def _wrapped(original: Any, forwards: Forwards) -> Any:
    """torch's `__call__` with a word before and after the outermost. Its name tells whose frame it is."""

    def memtop_call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if forwards.thread:
            forwards.calls += 1
            return original(self, *args, **kwargs)
        if not forwards.begins(self, args, kwargs):
            return original(self, *args, **kwargs)
        try:
            result = original(self, *args, **kwargs)
        except BaseException as error:
            forwards.thread = 0
            _strip(error, memtop_call.__code__)
            raise
        forwards.ended(self, result)
        return result

    memtop_call.__wrapped__ = original  # type: ignore[attr-defined]
    # Dynamo, were it to trace this in spite of all, traces torch's own instead.
    memtop_call._torchdynamo_inline = original  # type: ignore[attr-defined]
    return memtop_call


def _strip(error: BaseException, code: Any) -> None:
    """Take the frames of inner calls out of the traceback; the outermost's own is put there by Python afterwards."""
    trace = error.__traceback__
    while trace is not None:
        following = trace.tb_next
        while following is not None and following.tb_frame.f_code is code:
            following = following.tb_next
        trace.tb_next = following
        trace = following
