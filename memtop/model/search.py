"""Which batch size to try next: the largest that fits, found in few trials. Pure; sizes in bytes.

A trial tells whether a batch fits and, mostly, how high its peak was and how it will grow. Where the forecast is good,
three trials do: the first, the one it points at, and the next larger, which proves it.
"""

from __future__ import annotations

from fractions import Fraction

import msgspec

from memtop.model.forecast import Affine, max_batch, peak_at


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One batch size that was tried."""

    batch_size: int
    fits: bool
    peak_bytes: int | None = None
    """The highest that tensors took; `None` where it ended before that was known."""
    lines: tuple[Affine, ...] = ()
    """The forecast made there."""
    ran: bool = True
    """Whether it is memory that decided; not where the data were too few for it."""


class Search:
    """Tell it of each trial; it says what to try next, and when it is over."""

    def __init__(
        self, limit: int | None, *, start: int = 16, multiple_of: int = 1, margin: float = 0.0, most: int | None = None
    ) -> None:
        """`limit` bytes (`None`: only trials tell), `margin` a share of the peak, `most` the largest batch wanted."""
        self.limit = limit
        self._step = multiple_of
        self.margin = margin
        """A share of a peak that stays free."""
        self._most = None if most is None else most // multiple_of * multiple_of
        self._start = self._within(max(1, start // multiple_of) * multiple_of)
        self.near = 0.0
        """What fits may be smaller than the smallest that does not by this share of it. Where trials run out of memory
        in pieces, their peaks don't tell how far: each batch between would take a trial."""
        self.tried: dict[int, Tried] = {}
        """By batch size."""
        self.in_a_pass: int | None = None
        """Samples of a pass over the data, at most; `None` where it is not known."""

    @property
    def most(self) -> int | None:
        """No larger batch is wanted; `None`: any."""
        return self._most

    @property
    def largest(self) -> Tried | None:
        """The largest batch that was seen to fit."""
        return max((one for one in self.tried.values() if one.fits), key=lambda one: one.batch_size, default=None)

    @property
    def smallest_over(self) -> Tried | None:
        """The smallest batch that was seen not to fit."""
        return min((one for one in self.tried.values() if not one.fits), key=lambda one: one.batch_size, default=None)

    @property
    def proved(self) -> bool:
        """Whether the next larger batch was seen not to fit, or is more than is wanted."""
        return self.over and not self.by_data

    @property
    def by_data(self) -> bool:
        """Whether it is the data that set the bound, not memory."""
        high = self.smallest_over
        return high is not None and not high.ran and (self._most is None or high.batch_size <= self._most)

    @property
    def over(self) -> bool:
        """Whether there is nothing left between what fits and what does not."""
        low, high = self.largest, self.smallest_over
        if low is None:
            return high is not None and high.batch_size <= self._step
        if self._most is not None and low.batch_size >= self._most:
            return True
        return high is not None and high.batch_size - low.batch_size <= self._step

    @property
    def near_enough(self) -> bool:
        """Whether what fits is as near to what does not as is asked for."""
        low, high = self.largest, self.smallest_over
        return low is not None and high is not None and high.batch_size - low.batch_size <= self.near * high.batch_size

    @property
    def unbounded(self) -> bool:
        """Whether nothing of what was seen grows with the batch."""
        low = self.largest
        return (
            low is not None
            and bool(low.lines)
            and all(line.bytes_per_sample <= 0 >= line.bytes_per_pair for line in low.lines)
        )

    def fits(self, peak: int) -> bool:
        """Whether a measured peak is within the limit, with its margin."""
        return self.limit is None or peak + peak * Fraction(self.margin).limit_denominator(10**9) <= self.limit

    def forecast(self, batch: int) -> int | None:
        """The largest batch that fits by the forecast of the trial at `batch`; `None` where it tells none."""
        return self._forecast(self.tried[batch])

    def add(self, trial: Tried) -> None:
        """What came of a trial."""
        self.tried[trial.batch_size] = trial

    def next(self) -> int | None:
        """The batch size to try next; `None`: it is over."""
        if not self.tried:
            return self._start
        low, high = self.largest, self.smallest_over
        if self.over or self.near_enough or (self.unbounded and high is None):
            return None
        if high is not None and not high.ran:
            return self._within_data(low, high)
        if low is None:
            assert high is not None
            return self._down(high)
        if high is None:
            return self._up(low)
        return self._between(low, high)

    def _up(self, low: Tried) -> int:
        wanted = self._forecast(low)
        if wanted is None:
            wanted = 2 * low.batch_size
        least = max(low.batch_size + self._step, int(low.batch_size * (1 + self.near)))
        return self._within(max(wanted, least // self._step * self._step))

    def _down(self, high: Tried) -> int:
        wanted = self._forecast(high)
        if wanted is None or wanted >= high.batch_size:
            wanted = high.batch_size // 2
        return max(self._step, wanted // self._step * self._step)

    def _within_data(self, low: Tried | None, high: Tried) -> int | None:
        """The largest that the data may suffice for: a whole pass of them, or two batches a pass; no guess beyond."""
        first, last = (0 if low is None else low.batch_size) + self._step, high.batch_size - self._step
        if first > last:
            return None
        wanted = None if low is None else self._forecast(low)
        room = last if wanted is None else min(last, max(first, wanted // self._step * self._step))
        if self.in_a_pass is not None:
            half = self.in_a_pass // 2
            guesses = [each // self._step * self._step for each in (self.in_a_pass, half, half - self._start)]
            if fit := [min(room, guess) for guess in guesses if first <= guess <= last]:
                return fit[0]
            if low is not None and low.batch_size >= guesses[-1]:
                return None
        return min(room, max(first, (first + last) // 2 // self._step * self._step))

    def _between(self, low: Tried, high: Tried) -> int:
        first, last = low.batch_size + self._step, high.batch_size - self._step
        wanted = self._forecast(low)
        if wanted is None or not low.batch_size <= wanted <= last:
            wanted = self._crossing(low, high)
            if self.near and high.peak_bytes is None:
                wanted = max(wanted, high.batch_size - self._away(high))
        return min(last, max(first, wanted // self._step * self._step))

    def _crossing(self, low: Tried, high: Tried) -> int:
        """Where the chord between two peaks meets the limit; their middle where a peak is not known."""
        if low.peak_bytes is None or high.peak_bytes is None or self.limit is None:
            return (low.batch_size + high.batch_size) // 2
        room = int(self.limit / (1 + Fraction(self.margin).limit_denominator(10**9))) - low.peak_bytes
        rise = max(1, high.peak_bytes - low.peak_bytes)
        return low.batch_size + room * (high.batch_size - low.batch_size) // rise

    def _away(self, high: Tried) -> int:
        """How far below what ran out of memory to look: a little more than near, and twice as far each time."""
        over = sum(not one.fits and one.peak_bytes is None for one in self.tried.values())
        return max(self._step, int(1.5 * self.near * high.batch_size) << max(0, over - 1))

    def _forecast(self, trial: Tried) -> int | None:
        """The largest batch by the functions found there, moved so that they agree with the peak measured there."""
        if self.limit is None:
            return None
        off = 0
        if trial.peak_bytes is not None and trial.lines:
            off = trial.peak_bytes - peak_at(trial.lines, trial.batch_size)
        return max_batch(trial.lines, self.limit - off, self.margin, self._step)

    def _within(self, batch: int) -> int:
        return batch if self._most is None else max(self._step, min(batch, self._most))
