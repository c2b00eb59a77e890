"""Where a step begins and ends: torch's global optimizer hooks, and a wrap of `torch.autograd.backward`.

The hooks are always there and cost about a microsecond; the wrap stands around watched steps only. A step ends when
the outermost `optimizer.step()` of the optimizer seen first returns. Every body is guarded: when something of ours
fails, watching ends and training goes on.

Where a step is so short that a microsecond counts, unwatched steps are counted without running any Python of ours: the
places of our hooks in torch's tables then hold two callables written in C, one that does nothing and one that counts.
Only values are exchanged, never keys, for torch may be walking over the tables just then. The counter can't tell one
optimizer from another, nor a nested step: it serves programs that have shown neither, until they do.
"""

from __future__ import annotations

import functools
import sys
import time
import weakref
from collections.abc import Callable
from typing import Any, Protocol

import torch

_now = time.monotonic_ns
_NEVER = 1 << 62
_CALLS = 200
"""Calls in a row by which the price of the hooks is found."""


class Watcher(Protocol):
    """Who wants to know. Times are `time.monotonic_ns()`."""

    def backward_begins(self, roots: list[Any]) -> None: ...
    def backward_ended(self) -> None: ...
    def optimizer_begins(self, optimizer: Any) -> None: ...
    def optimizer_ended(self, optimizer: Any) -> None: ...
    def step_ended(self) -> None: ...
    def step_skipped(self) -> None: ...
    def quiet_step(self) -> None: ...


class _Nobody:
    """Hears of steps when watching has ended."""

    def backward_begins(self, roots: list[Any]) -> None: ...
    def backward_ended(self) -> None: ...
    def optimizer_begins(self, optimizer: Any) -> None: ...
    def optimizer_ended(self, optimizer: Any) -> None: ...
    def step_ended(self) -> None: ...
    def step_skipped(self) -> None: ...
    def quiet_step(self) -> None: ...


class _Idle:
    """`_Idle().__init__` is a callable in C that takes anything and returns `None`: because of this `__new__`,
    `object.__init__` does not mind arguments."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return object.__new__(cls)


class Steps:
    """Finds the moments of each step and tells the watcher."""

    def __init__(self, watcher: Watcher, failed: Callable[[Exception], None]) -> None:
        self._watcher: Watcher = watcher
        self._failed = failed
        self.look_at = 0
        """The first unwatched step that ends after this time (`time.monotonic_ns()`) is told; those before it are only
        counted."""
        self.thin = False
        """Unwatched steps shall run none of our Python, if the program is one that can be counted so."""
        self.alone = True
        """No second optimizer and no nested step was ever seen."""
        self.by_backward = False
        """No optimizer shows its steps: a backward that has returned ends one."""
        self._quiet = self._thinned = False
        self._counted = self._counter_read = 0
        self._idle: Any = _Idle().__init__
        self._counter = functools.lru_cache(0)(self._idle)
        """Counts its calls, as cache misses, in C."""
        self._tables: tuple[Any, Any] = ({}, {})
        self._keys = (0, 0)
        self._depth = self._entered = self._backwards = self._skipped = 0
        self._first: weakref.ref[Any] | None = None
        self._original: Any = None

    def install(self) -> None:
        """Register the hooks, for good. Raises `AttributeError` or `ImportError` where this torch has none."""
        from importlib import import_module

        optimizer = import_module("torch.optim.optimizer")
        pre = optimizer.register_optimizer_step_pre_hook(self._pre)
        post = optimizer.register_optimizer_step_post_hook(self._post)
        self._tables, self._keys = (pre.hooks_dict_ref(), post.hooks_dict_ref()), (pre.id, post.id)
        scalers = import_module("torch.amp.grad_scaler").GradScaler
        scalers._maybe_opt_step = _scaling(scalers._maybe_opt_step, self)

    def adopt(self, kind: type) -> None:
        """Watch the steps of a class of optimizers that torch's own hooks don't see."""
        if not hasattr(kind.step, "_memtop"):  # type: ignore[attr-defined]
            kind.step = _stepping(kind.step, self)  # type: ignore[attr-defined]

    @property
    def seen(self) -> bool:
        """Whether an optimizer has stepped."""
        return self._first is not None

    def is_first(self, optimizer: Any) -> bool:
        """Whether this is the optimizer that closes the step."""
        return self._first is None or self._first() in (optimizer, None)

    @property
    def inside(self) -> str | None:
        """What runs, as far as a watched step shows it: `backward`, else an `optimizer`'s step, else nothing."""
        if self._backwards > 0:
            return "backward"
        return "optimizer" if self._depth > 0 and not self._thinned else None

    @property
    def quiet(self) -> bool:
        """Nobody watches this step: it is only counted. The path that nearly every step takes; keep it short."""
        return self._quiet

    @quiet.setter
    def quiet(self, quiet: bool) -> None:
        self._quiet = quiet
        wanted = quiet and self.thin and self.alone
        if wanted != self._thinned:
            self._depth = 0
            self._thinned = wanted
        self._place(self._idle if wanted else self._pre, self._counter if wanted else self._post)

    @property
    def thinned(self) -> bool:
        """Whether unwatched steps are counted in C just now."""
        return self._thinned

    def take(self) -> int:
        """The unwatched steps that have ended since the last time."""
        missed = self._counter.cache_info().misses
        count = self._counted + missed - self._counter_read
        self._counted, self._counter_read = 0, missed
        return count

    def take_skipped(self) -> int:
        """The unwatched steps since the last time that a GradScaler skipped."""
        count, self._skipped = self._skipped, 0
        return count

    def tick(self) -> None:
        """From our own thread, now and then: has a thinned step's end told when it is time."""
        if self._thinned and _now() >= self.look_at:
            self._place(self._idle, self._post)

    def _place(self, *hooks: Any) -> None:
        """Put other callables in our places. A key that somebody took away stays away."""
        for table, key, hook in zip(self._tables, self._keys, hooks, strict=True):
            if key in table and table[key] is not hook:
                table[key] = hook

    def hold_still(self) -> None:
        """Exchange no hooks any more: something compiles, and what is compiled is guarded by what stands there."""
        self.alone = False
        if self._thinned:
            self.quiet = True

    def remove(self) -> None:
        """Tell nobody any more. The hooks stay, idle: torch may be walking over them just now, and a hook taken off
        under its feet raises `OrderedDict mutated during iteration` in the person's step."""
        self.watch_backward(False)
        self._watcher, self.look_at = _Nobody(), _NEVER
        self.thin = self.alone = self.quiet = True

    def rest(self) -> None:
        """Only count, until `hurry`. Not thinned: who looks next must find the steps of the first optimizer counted."""
        self.watch_backward(self.by_backward)
        self.look_at, self.thin, self.quiet = _NEVER, False, True

    def hurry(self) -> None:
        """From our own thread: the next unwatched step's end is told."""
        self.look_at = 0

    def watch_backward(self, wanted: bool) -> None:
        """Put the wrap around `torch.autograd.backward` for a watched step, or take it away."""
        if wanted and self._original is None:
            original = self._original = torch.autograd.backward
            torch.autograd.backward = _wrapped(original, self._backward, self._backward_ended)
        elif not wanted and self._original is not None:
            if getattr(torch.autograd.backward, "_memtop", False):
                torch.autograd.backward = self._original
            self._original = None

    def _backward(self, roots: Any) -> bool:
        """Called before backward runs, with what it starts from. Whether the watcher was told."""
        if self._original is None:
            return False
        if self._quiet:
            self._backwards += self.by_backward
            return self.by_backward
        self._backwards += 1
        try:
            values = roots if isinstance(roots, (list, tuple)) else [roots]
            found = [one for one in values if isinstance(one, torch.Tensor) and one.grad_fn is not None]
            if found:
                self._watcher.backward_begins(found)
                return True
        except Exception as error:
            self._failed(error)
        self._backwards -= 1
        return False

    def _backward_ended(self) -> None:
        """Called after a backward that the watcher was told of has returned or raised."""
        self._backwards = max(0, self._backwards - 1)
        if self._original is None:
            return
        try:
            if not self._quiet:
                self._watcher.backward_ended()
            if self.by_backward and not self._backwards:
                self.other_ended()
        except Exception as error:
            self._failed(error)

    def other_ended(self) -> None:
        """A step without an optimizer has ended."""
        if self._quiet:
            self._count()
        else:
            self._watcher.step_ended()

    def scaled(self, optimizer: Any, stepped: bool) -> None:
        """A GradScaler has been asked to step, and has stepped or skipped it."""
        try:
            if stepped or not self.is_first(optimizer):
                return
            if self._quiet:
                self._skipped += 1
            else:
                self._watcher.step_skipped()
        except Exception as error:
            self._failed(error)

    @property
    def marks(self) -> tuple[int, int]:
        """What any step of an optimizer changes: entries so far, and calls of the counter."""
        return self._entered, self._counter.cache_info().misses

    def _pre(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if self._depth and not _inside(sys._getframe(1)):
            # An earlier step raised before its post-hook: it is no longer on the stack.
            self._depth = 0
        self._depth += 1
        self._entered += 1
        if self._depth > 1:
            self.alone = False
            return
        if self._quiet:
            return
        try:
            if self._first is None or self._first() is None:
                self._closes(optimizer)
            self._watcher.optimizer_begins(optimizer)
        except Exception as error:
            self._failed(error)

    def _post(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self._depth = 0 if self._thinned else self._depth - 1
        if self._depth > 0:
            return
        try:
            if self._quiet:
                self._quiet_post(optimizer)
                return
            self._watcher.optimizer_ended(optimizer)
            if self._first is not None and self._first() is optimizer:
                self._watcher.step_ended()
            else:
                self.alone = False
        except Exception as error:
            self._failed(error)

    def _closes(self, optimizer: Any) -> None:
        """This optimizer's steps are the program's."""
        self._first, self.by_backward = weakref.ref(optimizer), False

    def _quiet_post(self, optimizer: Any) -> None:
        first = None if self._first is None else self._first()
        if first is None:
            self._closes(optimizer)
        if first is None or first is optimizer:
            self._count()
        else:
            self.alone = False
            if self._thinned:
                self.quiet = True

    def _count(self) -> None:
        self._counted += 1
        if _now() >= self.look_at:
            self._watcher.quiet_step()


def prices() -> tuple[float, float]:
    """What the hooks of one unwatched step cost when called in a row, nanoseconds: those in Python, those in C."""
    steps, optimizer = Steps(_Nobody(), lambda error: None), _Nobody()
    steps._first, steps.look_at, steps.quiet = weakref.ref(optimizer), _NEVER, True
    pairs = ((steps._pre, steps._post), (steps._idle, steps._counter))
    whole, thin = (min(_price(pre, post, optimizer) for _ in range(5)) for pre, post in pairs)
    return whole, thin


def _price(pre: Any, post: Any, optimizer: Any) -> float:
    arguments: tuple[Any, ...] = ()
    named: dict[str, Any] = {}
    started = time.perf_counter_ns()
    for _ in range(_CALLS):
        pass
    began = time.perf_counter_ns()
    for _ in range(_CALLS):
        pre(optimizer, arguments, named)
        post(optimizer, arguments, named)
    return max(1.0, (time.perf_counter_ns() - began - (began - started)) / _CALLS)


def _inside(frame: Any) -> bool:
    """Whether the hook's caller, torch's wrapper around `step`, stands further up on the stack as well."""
    code, above = frame.f_code, frame.f_back
    while above is not None:
        if above.f_code is code:
            return True
        above = above.f_back
    return False


def _wrapped(original: Any, before: Callable[[Any], bool], after: Callable[[], None]) -> Any:
    """`original` after `before(tensors)`, and where that is true before `after()`. Its name tells a traceback's reader
    whose frame it is."""

    def memtop_backward(*args: Any, **kwargs: Any) -> Any:
        told = before(args[0] if args else kwargs.get("tensors"))
        try:
            return original(*args, **kwargs)
        finally:
            if told:
                after()

    memtop_backward._memtop = True  # type: ignore[attr-defined]
    # What `torch._dynamo.disable` sets, without importing dynamo (2.4 s) for it: a compiled function that calls
    # backward sees no more of us than of the original.
    memtop_backward._torchdynamo_disable = True  # type: ignore[attr-defined]
    memtop_backward._torchdynamo_orig_callable = original  # type: ignore[attr-defined]
    memtop_backward.__wrapped__ = original  # type: ignore[attr-defined]
    memtop_backward.__doc__ = original.__doc__
    return memtop_backward


def _stepping(original: Any, steps: Steps) -> Any:
    """The `step` of an optimizer that torch's hooks don't see, with a word before and after it."""

    @functools.wraps(original)
    def memtop_step(self: Any, *args: Any, **kwargs: Any) -> Any:
        steps._pre(self, args, kwargs)
        result = original(self, *args, **kwargs)
        steps._post(self, args, kwargs)
        return result

    memtop_step._memtop = True  # type: ignore[attr-defined]
    return memtop_step


def _scaling(original: Any, steps: Steps) -> Any:
    """`GradScaler._maybe_opt_step`, with a word about whether it has stepped."""

    @functools.wraps(original)
    def memtop_maybe_step(self: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        before = steps.marks
        result = original(self, optimizer, *args, **kwargs)
        steps.scaled(optimizer, steps.marks != before)
        return result

    memtop_maybe_step._torchdynamo_inline = original  # type: ignore[attr-defined]
    return memtop_maybe_step


def _untraced(self: Steps, optimizer: Any, args: Any, kwargs: Any) -> None:
    """What Dynamo finds in place of our hooks: where it traces an optimizer's step, nobody is told of it."""


for _hook in (Steps._pre, Steps._post):
    _hook._torchdynamo_inline = _untraced  # type: ignore[attr-defined]
EDGE = _wrapped(lambda: None, lambda _: False, lambda: None).__code__
"""The wrap's code: what stands between the person's line and autograd."""
