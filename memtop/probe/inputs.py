"""What feeds a step: the batches that a DataLoader yields, seen by a wrap of its iterator's class.

Nothing of the person's is touched: no dataset, no loader object. A batch is kept by weak references alone.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, Protocol

from .storages import Held, storages, tensors

_KEPT = 64
"""Batches remembered of one step: more micro-batches than that are counted and not held."""


class Look(Protocol):
    """Wants to know when a loader works. Must not raise."""

    def loading(self) -> None: ...
    def loaded(self, batch: Any) -> None: ...


Shape = tuple[tuple[int, ...], str, int]


class Inputs:
    """The batches of the step that runs now."""

    def __init__(self) -> None:
        self.samples: int | None = None
        """Samples yielded since the last step ended (micro-batches add up); `None` where no batch came."""
        self.data_ns = 0
        """Time spent inside the loader since the last step ended, nanoseconds."""
        self.quiet = False
        """Nobody watches this step: a batch is counted and not looked at."""
        self.look: Look | None = None
        """The deep look at the step that runs now; `None` where there is none."""
        self._held: list[Held] = []
        self._shapes: tuple[Shape, ...] = ()
        self._fresh = True

    def step_ended(self) -> None:
        """The next batch belongs to the next step."""
        self.samples, self.data_ns, self._fresh = None, 0, True

    def took(self, batch: Any, elapsed_ns: int) -> None:
        """A loader yielded `batch` in a watched step, after `elapsed_ns`: remember its storages and shapes."""
        self.data_ns += elapsed_ns
        found = list(tensors(batch))
        shaped = [one for one in found if one.dim() > 0]
        if shaped:
            self.samples = (self.samples or 0) + int(shaped[0].shape[0])
        if self._fresh:
            self._held, self._fresh = [], False
        if len(self._held) < _KEPT * max(1, len(found)):
            self._held += [Held(storage) for one in found for storage in storages(one)]
        self._shapes = tuple((tuple(one.shape), str(one.dtype)[6:], one.untyped_storage().nbytes()) for one in found)

    @property
    def held(self) -> list[Held]:
        """Storages of the step's batches, those of a watched step."""
        return self._held

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


def wrap(loaders: Any, inputs: Inputs, watch: Callable[[Any, int], None]) -> None:
    """Have `watch(batch, elapsed_ns)` called for each batch of any loader of `torch.utils.data` in watched steps."""
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
            if look is not None:
                look.loaded(None)
            raise
        watch(batch, time.monotonic_ns() - started)
        return batch

    iterator.__next__ = memtop_next
