"""What a screen draws: the newest of everything, with ages. Made by `session.py`, drawn by `tui/` and `--once`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

import msgspec

from memtop.model.batch import BatchSample
from memtop.model.deep_records import LinesRecord, ModulesRecord, TraceRecord
from memtop.model.forecast_record import ForecastRecord
from memtop.model.leaks import Leak, Waits
from memtop.model.oom import Explanation
from memtop.model.ranks import RankStrip
from memtop.model.records import DeviceRecord, EndRecord, MemoryRecord, ModelRecord, Setting, StepRecord
from memtop.model.specs import GpuSpec, HostSpec

NOTHING_PRINTED: Final = "the training has printed nothing"


class Phase(str, Enum):
    """Where the session stands."""

    STARTING = "starting"
    """The target's Python has not answered yet."""
    IMPORTING = "importing"
    """The target's Python runs; its torch is not imported yet."""
    WAITING = "waiting"
    """torch is there; no training step has ended yet."""
    TRAINING = "training"
    PAUSED = "paused"
    """The training thread waits at a step boundary, by our command."""
    LOST = "lost"
    """The target runs, but its probe's connection broke: figures from inside have stopped."""
    ENDED = "ended"
    """The target is gone; `end` says how."""


class Banner(msgspec.Struct, frozen=True, kw_only=True):
    """What needs action, as the first line of the screen."""

    severity: str
    """`error`, `warning` or `information`."""
    text: str
    remedy: str | None = None


class LogState(msgspec.Struct, frozen=True, kw_only=True):
    """One sink of this run."""

    path: str
    ok: bool
    """False once a write failed: the run goes on, the log does not."""
    records: int
    error: str | None = None
    closed: bool = False
    """Nothing more will be written to it: a person ended it, or the session is over."""
    note: str | None = None
    """What a person should know of it: an earlier log of that name was kept under another."""


class Theory(msgspec.Struct, frozen=True, kw_only=True):
    """A closed-form figure of one category, beside which the measured one stands."""

    bytes: int
    why: str
    """The formula with its numbers, `394,634 × 4 B`."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """A setting of the scenario that a key can change."""

    name: str
    title: str
    value: Setting
    choices: tuple[Setting, ...]
    """Empty: any value of the default's type."""
    key: str | None


class DeepLook(msgspec.Struct, frozen=True, kw_only=True):
    """The newest deep look at a step, on the device in focus. All of one step."""

    t: float
    """When that step ended, run seconds."""
    step: int
    peak: MemoryRecord
    """The step's highest instant, with `where`."""
    modules: ModulesRecord | None = None
    lines: LinesRecord | None = None
    trace: TraceRecord | None = None


class TensorGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Tensors alike, gained or lost between two marks of `memtop.track()`."""

    shape: tuple[int, ...]
    dtype: str
    kind: str
    """`Parameter`, `Tensor`, or the class of a subclass of it."""
    device: str
    count: int
    bytes: int
    """Of all of them: elements times the size of one."""


class Tracked(msgspec.Struct, frozen=True, kw_only=True):
    """One mark: what came and went since the one before."""

    t: float
    place: str
    """`file.py:12`."""
    label: str
    """The words the person gave the mark; empty for none."""
    gained: tuple[TensorGroup, ...]
    lost: tuple[TensorGroup, ...]
    total: int
    """Bytes of all tensors alive at the mark."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One frame's worth of truth. Times are run seconds; ages are `t` minus a record's `t`."""

    t: float
    """Run seconds of this snapshot."""
    phase: Phase
    phase_text: str
    """What the session waits for or how it ended, in words: `importing torch ... 1.2 s`, `ended: exit status 0`."""
    title: str
    """The scenario's name, or the command."""
    lesson: str
    """The scenario's paragraph; empty for a command."""
    choices: tuple[Choice, ...]
    settings: Mapping[str, Setting]
    device: str
    """The device in focus: `cpu` or `cuda:N`."""
    data_source: str | None
    """What a scenario trains on (`synthetic images of the same shape`, `files in DIR`); `None` for a command."""
    host: HostSpec | None
    gpus: tuple[GpuSpec, ...]
    gpu_note: str | None
    """Why no GPU is shown, in a calm line; `None` where one is."""
    cpu: DeviceRecord | None
    """Newest host sample."""
    gpu: DeviceRecord | None
    """Newest sample of the GPU in focus, or of the first one."""
    model: ModelRecord | None
    moments: Mapping[str, MemoryRecord]
    """Newest memory record of the device in focus by moment."""
    now: MemoryRecord | None
    """The newest memory record of the device in focus, its device categories refreshed by the newest device sample."""
    highest: MemoryRecord | None
    """The memory record of the device in focus whose tensors were most, in this run."""
    theory: Mapping[str, Theory]
    step: StepRecord | None
    phased: StepRecord | None = None
    """The newest step record that says where the time went: not every step is looked into."""
    steps_per_second: float | None
    """Over the last seconds, pauses left out."""
    samples_per_second: float | None
    total_steps: int | None
    """How many steps the target was told to make; `None` is until stopped."""
    eta: float | None
    """Seconds to go at the present rate."""
    pass_eta: float | None = None
    """Seconds to the end of the running pass over the loader at the present rate; `None` where no loader says its
    length. How many passes a script will make is not known."""
    skipped: int = 0
    """Steps that a GradScaler has left out, so far: they count as no step."""
    counting: tuple[str, ...] = ()
    """How steps are counted, where it is not by an optimizer's, in the probe's words."""
    series: Mapping[str, tuple[int | None, ...]]
    """Bytes by category, one value a history slot, oldest first: the slot's maximum. Also `tensors`: their sum."""
    series_seconds: float
    """Seconds of one slot."""
    loss_series: tuple[float | None, ...]
    output: tuple[str, ...]
    """The last lines of the target's stdout and stderr, made harmless: of control characters nothing is left but
    colours (SGR sequences, each line closed by a reset), long lines are cut."""
    output_open: int = 0
    """How many of these, at their end, may still change: prompts and progress bars."""
    output_lines: int
    """How many lines the target has printed in all."""
    silence: str = NOTHING_PRINTED
    """What an output without lines means."""
    logs: tuple[LogState, ...]
    banner: Banner | None
    pending: str | None
    """A command on its way, `batch 128: restarting`; `None` when all took effect."""
    deep: DeepLook | None = None
    """The newest deep look, or `None` before the first."""
    forecast: ForecastRecord | None = None
    """Which batch fits the device in focus; `None` before the first deep look of this training, at any batch size."""
    batch: BatchSample | None = None
    """What the newest announced look took of its step's batch; `None` before the first."""
    tracked: tuple[Tracked, ...] = ()
    """Marks of `memtop.track()`, oldest first, the last thousand."""
    oom: Explanation | None = None
    """The newest time that memory ran out, explained."""
    leaks: tuple[Leak, ...] = ()
    """Lines that leave more behind with every step, most bytes first."""
    waits: Waits | None = None
    """Where the step of the newest deep look made the CPU wait for a device."""
    overhead_percent: float | None
    """Time spent watching over time trained, so far: the probe's estimate, see `EndRecord`."""
    announced_seconds: float | None = None
    """Time that the announced looks took beyond the budget, so far."""
    looks: int | None = None
    """Deep looks taken so far."""
    missing: str | None = None
    """Why there are no figures from inside a command, once that is known; `None` for a scenario."""
    end: EndRecord | None
    replay: float | None = None
    """Of a log that is played: run seconds a second. `None`: what is shown is live."""
    early: tuple[int, ...] = ()
    """Of several, the ranks that were gone before they reported a step, first to last."""
    ranks: RankStrip | None = None
    """All ranks beside each other, and which of them this snapshot is of; `None` where there is one."""
