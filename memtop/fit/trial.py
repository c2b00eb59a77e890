"""One trial: a training of a few steps at one batch size, in a process of its own, and what it took."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

from memtop.launcher import manifests
from memtop.model.forecast import Affine
from memtop.model.forecast_record import ForecastRecord
from memtop.model.records import EndRecord, EventRecord, MemoryRecord, Record, StepRecord
from memtop.model.snapshot import Snapshot
from memtop.model.text import harmless
from memtop.session import Options, Session

Outcome = Literal["ran", "oom", "failed", "stopped"]
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
        return replace(options, settings=settings)


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
    lines: tuple[Affine, ...] = ()
    """The forecast: bytes of each phase as functions of the batch size."""
    seen_batch: int | None = None
    """The batch size that the probe saw; `None` where it can't tell."""
    seconds: float | None = None
    """Median seconds of a step after the one looked at."""
    samples_per_second: float | None = None
    words: tuple[str, ...] = ()
    """Of one that did not run: why, or the last that it printed."""


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
    stopped = False
    try:
        session.start()
        while (end := session.wait(_POLL)) is None and not stopped:
            stopped = not tick(seen.steps[-1].step if seen.steps else 0)
    finally:
        session.stop()
        session.close()
    output = [harmless(line) for line in session.output_since(0)[1][-_LAST_LINES:]]
    trial = _trial(batch or _batch(seen) or 0, seen, end, _outcome(seen, end, session.status, stopped), output)
    return trial, session.snapshot()


def _batch(seen: _Seen) -> int | None:
    """The most samples that a step was seen to take."""
    return max((one.batch_size for one in seen.steps if one.batch_size is not None), default=None)


def _outcome(seen: _Seen, end: EndRecord | None, status: int | None, stopped: bool) -> Outcome:
    if stopped or end is None:
        return "stopped"
    if seen.oom is not None:
        return "oom"
    return "ran" if status == 0 and seen.peaks else "failed"


def _trial(batch: int, seen: _Seen, end: EndRecord | None, outcome: Outcome, output: Sequence[str]) -> Trial:
    peak = max(seen.peaks, key=lambda record: record.allocated or 0, default=None)
    looked = peak.step if peak is not None else 2
    timed = [one for one in seen.steps if one.step > looked] or seen.steps[-1:]
    seconds = statistics.median([one.seconds for one in timed]) if timed else None
    samples = _batch(seen)
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
        lines=() if seen.forecast is None else tuple(seen.forecast.phases),
        seen_batch=samples,
        seconds=seconds,
        samples_per_second=None if seconds is None or not seconds else (samples or batch) / seconds,
        words=() if outcome == "ran" else words,
    )


def _surround(peak: MemoryRecord) -> int | None:
    known = [peak.bytes.get(name) for name in ("runtime", "rounding", "pending_free", "cached", "context")]
    return sum(one for one in known if one is not None) if any(one is not None for one in known) else None


def with_flag(command: Sequence[str], flag: str, batch: int) -> tuple[str, ...]:
    """The command with this batch size: in the place of the flag's value, or at the end where it does not stand.

    `--batch-size 8` and `--batch-size=8` are both found. A flag that ends in `=` (`data.batch=`) is one
    word with its value.
    """
    words, name = list(command), flag.removesuffix("=")
    for place, word in enumerate(words):
        if word == name and not flag.endswith("=") and place + 1 < len(words):
            return (*words[: place + 1], str(batch), *words[place + 2 :])
        if word.startswith(f"{name}="):
            return (*words[:place], f"{name}={batch}", *words[place + 1 :])
    return (*words, f"{name}={batch}") if flag.endswith("=") else (*words, flag, str(batch))
