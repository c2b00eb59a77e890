"""The storages of a step at a batch size that nobody ran, from those at two that somebody did.

A model does the same at every batch size, with larger tensors: storage by storage the bytes are a constant plus so
much a sample. Where a step does something else at another size, there is no such line, and none is drawn.
"""

from __future__ import annotations

from msgspec.structs import replace

from memtop.model.step_events import StepEvents


class Unlike(ValueError):
    """Two steps that did not do the same: one line that says where they differ."""


def at_batch(first: tuple[int, StepEvents], second: tuple[int, StepEvents], batch: int) -> StepEvents:
    """The step at `batch` samples. `first` and `second`: two batch sizes and the steps run with them.

    A size that is not whole is rounded up. Shapes follow the same line, dimension by dimension. Raises `Unlike`."""
    if batch < 1 or first[0] == second[0]:
        raise Unlike(f"batch sizes {first[0]} and {second[0]} do not say what {batch} would take")
    (low, small), (high, large) = sorted((first, second), key=lambda one: one[0])
    _alike(small, large)

    def line(here: int, there: int) -> int:
        return max(0, here - (here - there) * (batch - low) // (high - low))

    def shape(here: list[int], there: list[int]) -> list[int]:
        if len(here) != len(there):
            return here
        return [line(one, two) for one, two in zip(here, there, strict=True)]

    births = [
        one._replace(bytes=line(one.bytes, two.bytes), shape=shape(one.shape, two.shape))
        for one, two in zip(small.births, large.births, strict=True)
    ]
    changes = [(n, line(size, more)) for (n, size), (_, more) in zip(small.changes, large.changes, strict=True)]
    return replace(small, births=births, changes=changes)


def per_sample(first: tuple[int, StepEvents], second: tuple[int, StepEvents]) -> dict[int, float]:
    """Bytes a sample of each storage that grows with the batch, by its number. Raises `Unlike`."""
    _alike(first[1], second[1])
    more = second[0] - first[0]
    pairs = enumerate(zip(first[1].births, second[1].births, strict=True))
    return {number: (two.bytes - one.bytes) / more for number, (one, two) in pairs if one.bytes != two.bytes}


def _alike(first: StepEvents, second: StepEvents) -> None:
    """That two steps made, held and freed the same storages in the same order."""
    if len(first.births) != len(second.births) or len(first.changes) != len(second.changes):
        counts = f"{len(first.births)} storages and {len(first.changes)} changes"
        raise Unlike(f"{counts} in one step, {len(second.births)} and {len(second.changes)} in the other")
    for number in range(len(first.births)):
        if _what(first, number) != _what(second, number):
            raise Unlike(
                f"storage {number} is {_what(first, number)} in one step, {_what(second, number)} in the other"
            )
    if first.held != second.held or first.moments != second.moments:
        raise Unlike("they do not hold the same storages, or their moments lie elsewhere")
    for index, ((one, size), (two, more)) in enumerate(zip(first.changes, second.changes, strict=True)):
        if one != two or (size == 0) != (more == 0):
            raise Unlike(f"change {index} is of storage {one} in one step, of {two} in the other")


def _what(events: StepEvents, number: int) -> tuple[str, str, str]:
    return events.category(number), events.phase(number), events.operators[events.births[number].operator]
