"""One trial: a training of a few steps at one batch size, in a process of its own, and what it took."""

from __future__ import annotations

import shlex
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

from memtop.launcher import manifests
from memtop.model.forecast import Affine
from memtop.model.forecast_record import ForecastRecord
from memtop.model.process_limit import DEVICE
from memtop.model.records import EndRecord, EventRecord, MemoryRecord, Record, StepRecord
from memtop.model.snapshot import Snapshot
from memtop.model.text import harmless
from memtop.session import Options, Session

Outcome = Literal["ran", "oom", "short", "failed", "hung", "stopped"]
"""`short`: it ended well before a whole step of full batches was looked at: its data were too few, or it caught an
error of its own. `hung`: no step came for too long. `stopped`: we were told to."""
PATIENCE = 600.0
"""Seconds without a step after which a trial is given up, unless told otherwise."""
_POLL = 0.1
"""Seconds between looks at a trial."""
_CAP = "MEMTOP_CUDA_CAP"
"""In the target's environment: `probe/cap.py` reads it."""
_LAST_LINES = 20
"""How much of a failed trial's output is kept."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is tried: a scenario, or a command with the flag that takes a batch size."""

    options: Options
    """Of every trial, but for its batch size and its steps."""
    flag: str | None = None
    """A command's own flag, such as `--batch-size`; `None` for a scenario."""
    steps: int = 5
    """Steps of a trial: the second is looked at, those after it are timed."""
    patience: float = PATIENCE
    """Seconds without a step after which a trial is given up."""

    def at(self, batch: int | None) -> Options:
        """The run with this batch size; `None` is that which it has by itself."""
        options = replace(self.options, steps=self.steps, output="capture")
        if options.command:
            again = batch is not None and self.flag is not None
            return (
                replace(options, command=with_flag(options.command, self.flag or "", batch or 0)) if again else options
            )
        manifest = manifests.load(options.scenario or "")
        own = {} if batch is None else {"batch_size": batch}
        settings = manifests.resolve(manifest, {**options.settings, **own, "steps": self.steps})
        if isinstance(phase := settings.get("phase_steps"), int):
            settings["phase_steps"] = max(phase, self.steps)  # A trial is of one phase: what follows is another.
        return replace(options, settings=settings)

    def words(self, batch: int) -> str:
        """What runs one trial by itself, as one would type it."""
        options = self.at(batch)
        if options.command:
            return shlex.join(options.command)
        defaults = {spec.name: spec.default for spec in manifests.load(options.scenario or "").settings}
        own = {name: value for name, value in self.options.settings.items() if value != defaults[name]}
        words = ["memtop", "--headless", "--scenario", options.scenario or "", "--batch-size", str(batch)]
        words += [word for name, value in own.items() if name != "steps" for word in ("--set", f"{name}={value}")]
        return shlex.join([*words, "--steps", str(self.steps)])


def capped(plan: Plan, limit: int) -> Plan:
    """The same, but that torch may reserve no more than `limit` bytes of a CUDA device; the CPU knows no such cap."""
    environment = {**plan.options.environment, _CAP: str(limit)}
    return replace(plan, options=replace(plan.options, environment=environment))


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one."""

    batch_size: int
    """As it was asked for; where nothing was asked for as it was seen, and 0 where that is not known."""
    outcome: Outcome
    peak_bytes: int | None = None
    """The highest sum of live tensors in the deep looks, bytes; on CUDA as the allocator counts them."""
    reserved_bytes: int | None = None
    """The most that torch's allocator kept, bytes; `None` on the CPU."""
    surround_bytes: int | None = None
    """What the process held beside its tensors at that peak: runtime, or rounding, cache and context."""
    device: str | None = None
    limit_bytes: int | None = None
    """What tensors could have had on that device, as the forecast says."""
    pieces_bytes: int | None = None
    """Beside it, of a GPU: what the forecast leaves to the allocator's pieces. A trial shows what they really take."""
    limit_is: str | None = None
    """Which limit that is, as in the log's `forecast`."""
    lines: tuple[Affine, ...] = ()
    """The forecast: bytes of each phase as functions of the batch size."""
    seen_batch: int | None = None
    """The most samples that the probe saw in a step; `None` where it can't tell."""
    steps: int = 0
    """How many steps were seen."""
    pass_samples: int | None = None
    """How many samples a pass over its loader has, at most; `None` where no loader says its length."""
    seconds: float | None = None
    """Median seconds of a step after the one looked at."""
    samples_per_second: float | None = None
    """The median of those steps."""
    timed: int = 0
    """How many steps that rests on."""
    least_per_second: float | None = None
    """Of the slowest of them; `most_per_second` of the fastest."""
    most_per_second: float | None = None
    words: tuple[str, ...] = ()
    """Of one that did not run: why, or the last that it printed."""

    @property
    def limit_words(self) -> str:
        """What sets `limit_bytes`."""
        if self.limit_is in (None, DEVICE):
            return f"what {self.device} has for tensors now"
        return f"what {self.limit_is} leaves for tensors now, an estimate"


class _Seen(msgspec.Struct):
    """What the records of a trial say."""

    peaks: list[MemoryRecord] = msgspec.field(default_factory=list)
    steps: list[StepRecord] = msgspec.field(default_factory=list)
    forecast: ForecastRecord | None = None
    oom: EventRecord | None = None
    reserved: int | None = None

    def take(self, record: Record) -> None:
        """A record of the session, on one of its threads."""
        if isinstance(record, MemoryRecord):
            if record.reserved is not None:
                self.reserved = max(self.reserved or 0, record.reserved)
            if record.moment == "peak" and record.tier == "deep":
                self.peaks.append(record)
        elif isinstance(record, StepRecord):
            self.steps.append(record)
        elif isinstance(record, ForecastRecord):
            self.forecast = record
        elif isinstance(record, EventRecord) and record.name == "oom":
            self.oom = record

    @property
    def done(self) -> int:
        """How many steps there were."""
        return self.steps[-1].step if self.steps else 0

    @property
    def batch(self) -> int | None:
        """The most samples that a step was seen to take."""
        return max((one.batch_size for one in self.steps if one.batch_size is not None), default=None)

    @property
    def partial(self) -> bool:
        """Whether all that was looked at was the last batch of a pass, and smaller than others."""
        lasts = {
            one.step for one in self.steps if one.pass_end == one.step and (one.batch_size or 0) < (self.batch or 0)
        }
        return bool(self.peaks) and all(peak.step in lasts for peak in self.peaks)

    @property
    def in_a_pass(self) -> int | None:
        """Samples of the first pass, at most: its last batch may be smaller."""
        first = self.steps[0] if self.steps else None
        if first is None or first.step != 1 or first.pass_end is None or first.batch_size is None:
            return None
        return first.pass_end * first.batch_size


def run(plan: Plan, batch: int, tick: Callable[[int], bool]) -> Trial:
    """Run one trial to its end. `tick` is told the steps done, ten times a second, and says whether to go on.

    Raises `LaunchError` or `ManifestError` where it can't be started.
    """
    return watched(plan, batch, tick)[0]


def watched(plan: Plan, batch: int | None, tick: Callable[[int], bool]) -> tuple[Trial, Snapshot]:
    """The same, with all that was known when it had ended. `None` is the batch that it has by itself."""
    seen = _Seen()
    session = Session(plan.at(batch))
    session.on_record(seen.take)
    ended: Outcome | None = None
    waits = _Patience(plan.patience)
    try:
        session.start()
        while (end := session.wait(_POLL)) is None and ended is None:
            if not tick(seen.done):
                ended = "stopped"
            elif waits.is_over(seen.done):
                ended = "hung"
    finally:
        session.stop()
        session.close()
    output = [harmless(line) for line in session.output_since(0)[1][-_LAST_LINES:]]
    outcome = _outcome(seen, session.status) if ended is None and end is not None else ended or "stopped"
    return _trial(batch or seen.batch or 0, seen, end, outcome, output), session.snapshot()


class _Patience:
    """How long nothing has come."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._done, self._since = seconds, -1, time.monotonic()

    def is_over(self, done: int) -> bool:
        """Whether no step has come for too long; `done` of them have."""
        now = time.monotonic()
        if done != self._done:
            self._done, self._since = done, now
        return now - self._since > self._seconds


def _outcome(seen: _Seen, status: int | None) -> Outcome:
    if seen.oom is not None:
        return "oom"
    if status != 0:
        return "failed"
    return "ran" if seen.peaks and not seen.partial else "short"


def _trial(batch: int, seen: _Seen, end: EndRecord | None, outcome: Outcome, output: Sequence[str]) -> Trial:
    peak = max(seen.peaks, key=lambda record: record.allocated or 0, default=None)
    looked = peak.step if peak is not None else 2
    timed = [one for one in seen.steps if one.step > looked] or seen.steps[-1:]
    rates = [(one.batch_size or batch) / one.seconds for one in timed if one.seconds]
    words = tuple(output)
    if outcome == "failed" and not words and end is not None:
        words = (f"it ended with status {end.exit_code}, signal {end.signal}, without a look at a whole step",)
    if seen.oom is not None:
        words = (seen.oom.message,)
    return Trial(
        batch_size=batch,
        outcome=outcome,
        peak_bytes=None if peak is None else peak.allocated,
        reserved_bytes=seen.reserved,
        surround_bytes=None if peak is None else _surround(peak),
        device=None if peak is None else peak.device,
        limit_bytes=None if seen.forecast is None else seen.forecast.limit_bytes,
        pieces_bytes=None if seen.forecast is None else seen.forecast.pieces_bytes,
        limit_is=None if seen.forecast is None else seen.forecast.limit_is,
        lines=() if seen.forecast is None else tuple(_of_asked(seen.forecast, batch)),
        seen_batch=seen.batch,
        steps=seen.done,
        pass_samples=seen.in_a_pass,
        seconds=statistics.median([one.seconds for one in timed]) if timed else None,
        samples_per_second=statistics.median(rates) if rates else None,
        timed=len(rates),
        least_per_second=min(rates, default=None),
        most_per_second=max(rates, default=None),
        words=() if outcome == "ran" else words,
    )


def _of_asked(forecast: ForecastRecord, asked: int) -> list[Affine]:
    """The functions of the number that was asked for: the forecast's are of what the loader yields, and a training that
    accumulates gradients may be asked for all of its parts."""
    parts = forecast.batches
    if asked != forecast.batch_size * parts:
        return forecast.phases
    return [replace(line, bytes_per_sample=-(-line.bytes_per_sample // parts)) for line in forecast.phases]


def _surround(peak: MemoryRecord) -> int | None:
    known = [peak.bytes.get(name) for name in ("runtime", "rounding", "pending_free", "cached", "context")]
    return sum(one for one in known if one is not None) if any(one is not None for one in known) else None


def with_flag(command: Sequence[str], flag: str, batch: int) -> tuple[str, ...]:
    """The command with this batch size: in the place of the flag's value, or at the end where it does not stand.

    `--batch-size 8` and `--batch-size=8` are both found, as often as they stand. A flag that ends in `=`
    (`data.batch=`), or has `{}` where the number goes (`--bs={}`), is one word with its value.
    """
    before, brace, after = flag.partition("{}")
    if brace or flag.endswith("="):
        return _one_word(command, before, f"{before}{batch}{after}")
    stands = flag in command[:-1] or any(word.startswith(f"{flag}=") for word in command)
    words: list[str] = []
    for place, word in enumerate(command):
        is_value = place > 0 and command[place - 1] == flag
        words.append(str(batch) if is_value else f"{flag}={batch}" if word.startswith(f"{flag}=") else word)
    return tuple(words) if stands else (*words, flag, str(batch))


def _one_word(command: Sequence[str], begins: str, word: str) -> tuple[str, ...]:
    """The command with `word` in place of every word that begins so; at its end where none does."""
    if not begins or not any(each.startswith(begins) for each in command):
        return (*command, word)
    return tuple(word if each.startswith(begins) else each for each in command)
