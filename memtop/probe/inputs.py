"""What feeds a step: the batches that a DataLoader yields, seen by a wrap of its iterator's class. Without a loader:
what reaches a root module, where its calls are seen, and what the graph then holds that looks like it.

Nothing of the person's is touched: no dataset, no loader object. A batch is kept by weak references alone.
"""

from __future__ import annotations

import functools
import time
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from . import batches
from .storages import Held, hollow, storages, tensors

_KEPT = 64
"""Batches remembered of one step: more micro-batches than that are counted and not held."""


class Look(Protocol):
    """Wants to know when a loader works. Must not raise."""

    def loading(self) -> None: ...
    def loaded(self, batch: Any) -> None: ...


Shape = tuple[tuple[int, ...], str, int]

_ENDLESS = 2**40
"""Batches that no pass has: at a million a second they take twelve days."""


class Inputs:
    """The batches of the step that runs now."""

    def __init__(self) -> None:
        self.samples: int | None = None
        """Samples yielded since the last step ended (micro-batches add up); `None` where no batch came."""
        self.batches = 0
        """How many batches those are: more than one where gradients accumulate."""
        self.sequence: int | None = None
        """How long the newest batch's samples are, where they are sequences."""
        self.data_ns = 0
        """Time spent inside the loader since the last step ended, nanoseconds."""
        self.quiet = False
        """Nobody watches this step: a batch is counted and not looked at."""
        self.look: Look | None = None
        """The deep look at the step that runs now; `None` where there is none."""
        self._held: list[Held] = []
        self._shapes: tuple[Shape, ...] = ()
        self.completed: tuple[Shape, ...] = ()
        """As `shapes`, of the newest batch whose step has ended."""
        self._fresh = True
        self._loaded = self._entered = self._rooted = self._unclear = self._trained = False
        self._before: tuple[int, int] | None = None
        self._usual = 0
        self._iterator: Callable[[], Any] = _nothing

    def step_ended(self) -> None:
        """The next batch belongs to the next step."""
        self._usual = self.batches or self._usual
        self.samples, self.batches, self.data_ns, self._fresh = None, 0, 0, True
        self.completed = self._shapes
        self._loaded = self._entered = self._rooted = self._unclear = self._trained = False
        self._before = None

    def backward_ended(self) -> None:
        """What a root is called with next is another batch."""
        self._entered, self._trained = False, True

    def others_step(self) -> None:
        """An optimizer that does not close the step has stepped: what it was fed does not add to the rest."""
        if self._rooted:
            self.samples, self.batches, self._entered, self._unclear = None, 0, False, False

    def took(self, batch: Any, elapsed_ns: int, iterator: Any = None) -> None:
        """A loader yielded `batch` in a watched step, after `elapsed_ns`: remember its storages and shapes."""
        self.data_ns += elapsed_ns
        self._loaded = True
        if iterator is not None and self._iterator() is not iterator:
            self._iterator, self._before = weakref.ref(iterator), (self.samples or 0, self.batches)
        found = list(tensors(batch))
        shaped = [one for one in found if one.dim() > 0]
        if shaped:
            self._add(int(shaped[0].shape[0]))
        self._remember(found)

    def ran_out(self, iterator: Any) -> None:
        """A loader is at its end. What it yielded in this step before any backward was an evaluation's, no batch."""
        if self._iterator() is iterator and self._before is not None and not self._trained:
            count, self.batches = self._before
            self.samples, self._fresh = count or None, True
            self._before, self._iterator = None, _nothing

    def entered(self, root: Any, given: Any, again: bool = False) -> None:
        """A root module is called with `given`: a batch, if no loader yields any and none has entered since the last
        backward (a second call before it works on the same samples, or on what the first has made). `again`: from
        inside an optimizer's step, which evaluates the same batch several times."""
        if self._loaded or self._entered or (again and self.batches):
            return
        found = [one for one in tensors(given) if not one.requires_grad and not hollow(one)]
        if not any(one.dim() for one in found):
            return
        self._entered = self._rooted = True
        known = [tuple(one.shape) for one in found]
        count = batches.samples(known, getattr(root, "batch_first", None))
        self.sequence = batches.sequence(known, [not one.dtype.is_floating_point for one in found])
        self._unclear = self._unclear or count is None
        if count is not None:
            self._add(count)
        if self._unclear:
            self.samples = None
        self._remember(found)

    def looks_fed(self, tensor: Any) -> bool:
        """Whether a tensor that the graph holds is the batch of a step whose root call was not seen: as what entered
        before, but for the number of samples. Tells that number, too, where a step has one batch."""
        if self._loaded or self._entered or tensor.requires_grad or tensor.dim() < 2:
            return False
        shape, dtype = tuple(tensor.shape), str(tensor.dtype)[6:]
        if not any(dtype == kind and shape[1:] == known[1:] for known, kind, _ in self._shapes):
            return False
        if self._usual == 1 and self.samples is None:
            self._add(int(shape[0]))
        return True

    def steps_left(self) -> int | None:
        """How many steps this pass over the loader still has; `None` where there is no loader, it can't say, or its
        sampler has no end but a very large number (`num_samples=sys.maxsize`)."""
        return self._steps(lambda iterator: max(0, len(iterator) - int(iterator._num_yielded)))

    def steps_in_all(self) -> int | None:
        """The same of the whole pass."""
        return self._steps(len)

    def _steps(self, batches_of: Callable[[Any], int]) -> int | None:
        iterator = self._iterator()
        try:
            count = _ENDLESS if iterator is None else batches_of(iterator)
            return None if count >= _ENDLESS else -(-count // max(1, self._usual))
        except (AttributeError, NotImplementedError, TypeError, ValueError):
            return None

    def _add(self, count: int) -> None:
        self.samples, self.batches = (self.samples or 0) + count, self.batches + 1

    def _remember(self, found: list[Any]) -> None:
        if self._fresh:
            self._held, self._fresh = [], False
        if len(self._held) < _KEPT * max(1, len(found)):
            self._held += [Held(storage, one) for one in found for storage in storages(one)]
        self._shapes = tuple((tuple(one.shape), str(one.dtype)[6:], one.untyped_storage().nbytes()) for one in found)

    @property
    def usual(self) -> int | None:
        """How many batches a step takes: of this step, or of the newest whose batches were seen. `None`: never seen."""
        return self.batches or self._usual or None

    @property
    def held(self) -> list[Held]:
        """Storages of the step's batches, those of a watched step."""
        return self._held

    @property
    def is_current(self) -> bool:
        """Whether the batch of the step that runs now has been seen."""
        return not self._fresh

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """(shape, dtype, storage bytes) of each tensor of the newest watched batch."""
        return self._shapes

    def is_copy(self, tensor: Any) -> bool:
        """Whether a tensor that takes no gradient is a device copy of a yielded one: same dtype and byte count.

        The copy itself is not seen from outside a deep look; equal dtype and size on another device is the evidence.
        """
        if tensor.requires_grad or tensor.device.type == "cpu":
            return False
        dtype, count = str(tensor.dtype)[6:], tensor.untyped_storage().nbytes()
        return any(kind == dtype and size == count for _, kind, size in self._shapes)


def _nothing() -> None:
    """The iterator where there is none."""


def wrap(loaders: Any, inputs: Inputs, watch: Callable[[Any, int, Any], None]) -> None:
    """Have `watch(batch, elapsed_ns, iterator)` called for each batch of any loader of torch in watched steps."""
    iterator = loaders._BaseDataLoaderIter
    original = iterator.__next__

    @functools.wraps(original)
    def memtop_next(self: Any) -> Any:
        if inputs.quiet:
            return original(self)
        started, look = time.monotonic_ns(), inputs.look
        if look is not None:
            look.loading()
        try:
            batch = original(self)
        except BaseException:  # The end of the data, as a rule.
            inputs.ran_out(self)
            if look is not None:
                look.loaded(None)
            raise
        watch(batch, time.monotonic_ns() - started, self)
        return batch

    iterator.__next__ = memtop_next
