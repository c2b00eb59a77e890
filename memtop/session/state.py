"""What is known of the present run: messages and samples in, log records out. No threads, no clock of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from memtop.model.batch import BatchSample
from memtop.model.categories import TENSORS
from memtop.model.history import History
from memtop.model.ledger import Counters, Whole, known, on_cpu, on_cuda
from memtop.model.records import (
    DeviceRecord,
    EndRecord,
    EventRecord,
    InputTensor,
    MemoryRecord,
    ModelRecord,
    Record,
    StepRecord,
)
from memtop.model.snapshot import Phase
from memtop.model.text import harmless, harmless_data
from memtop.protocol import records as wire
from memtop.session import batches, looks
from memtop.session.forecasts import Forecasts
from memtop.session.holdings import Holdings
from memtop.session.looks import Looks
from memtop.session.marks import EVENT, Marks
from memtop.session.troubles import Troubles

_RATE_SECONDS = 4.0
"""Over how long steps per second are taken."""
_WATCHED = 9
"""Watched steps over which the time before backward is taken: one alone is full of chance."""
_BEFORE_BACKWARD = ("data", "forward", "other")
_NO_TREE: dict[str, Any] = dict.fromkeys(("tree_rss", "tree_pss", "tree_pss_t", "tree_processes", "pinned"))
"""What a sample says of a target that is gone."""
_COUNTINGS = 4
"""Ways of counting steps that are kept: a probe has two to tell of."""
_MOMENTS = frozenset({"forward_end", "backward_end", "step_end", "peak"})
_TIERS = frozenset({"counters", "graph", "saved", "deep"})


class State:
    """One run of one target."""

    def __init__(self, start_ns: int, before: Iterable[DeviceRecord] = (), forecasts: Forecasts | None = None) -> None:
        """`start_ns` is the run's beginning on the monotonic clock; `before`: the devices as they were a moment ago;
        `forecasts`: what earlier runs of the session taught."""
        self._start_ns = start_ns
        self.phase = Phase.STARTING
        self.phase_since = 0.0
        self.torch: str | None = None
        self.model: ModelRecord | None = None
        self.step: StepRecord | None = None
        self.phased: StepRecord | None = None
        """The newest step whose phases were measured."""
        self.before_backward: deque[float] = deque(maxlen=_WATCHED)
        """Seconds of a step in data, forward and what is in none of the phases, over the newest watched ones."""
        self.moments: dict[str, dict[str, MemoryRecord]] = {}
        """Newest memory record by device and moment."""
        self.highest: dict[str, MemoryRecord] = {}
        """By device, the memory record whose tensors were most."""
        self.devices = {one.device: replace(one, t=0.0, **_NO_TREE) for one in before if one.device == "cpu"}
        self.history: dict[str, History] = {}
        self.visible: dict[str, str] = {}
        self.end: EndRecord | None = None
        self.overhead_percent: float | None = None
        self.announced_seconds: float | None = None
        """What the announced looks took so far."""
        self.taken: int | None = None
        """Deep looks so far."""
        self.skipped = 0
        """Steps that a GradScaler has left out."""
        self.counting: list[str] = []
        """How steps are counted, where it is not by an optimizer's."""
        self.looks = Looks()
        self.forecasts = forecasts or Forecasts()
        self.fed: BatchSample | None = None
        """The newest batch that a look took samples of."""
        self.marks = Marks()
        self.troubles = Troubles(self)
        self.early: Mapping[int, float] = {}
        """Ranks, this one or another, that were gone before they reported a step: since when, run seconds."""
        self.malformed = 0
        self.part: Callable[[DeviceRecord | None], DeviceRecord | None] = lambda sample: sample
        """What of a sample is this rank's: all of it where there is one rank."""
        self._counters: dict[str, Counters | None] = {}
        """Of the newest moment of each device."""
        self._holdings = Holdings()
        self._rates: deque[tuple[float, float, int]] = deque()
        self._bye: wire.Bye | None = None
        self._retries: dict[str, int] = {}

    def at(self, t_ns: int) -> float:
        """A probe's clock as run seconds."""
        return round((t_ns - self._start_ns) / 1e9, 6)

    @property
    def said_bye(self) -> bool:
        """Whether the probe had its last word."""
        return self._bye is not None

    @property
    def home(self) -> str | None:
        """The device where the parameters are, else the first that held something; `None` before either is known."""
        if self.model is not None and self.model.device is not None:
            return self.model.device
        return next(iter(self.moments), None)

    def heard(self, message: wire.Message) -> list[Record]:
        """A message of the probe: the records it makes."""
        t = self.at(message.t_ns)
        if isinstance(message, wire.Memory):
            return self._memory(t, message)
        if isinstance(message, wire.Step):
            return self._step(t, message)
        if isinstance(message, wire.Model):
            return self._model(t, message)
        if isinstance(message, wire.Hello):
            return self._hello(t, message)
        if isinstance(message, wire.Event):
            return self._event(t, message)
        if isinstance(message, (wire.Modules, wire.Lines, wire.Trace)):
            return self._part(t, message)
        if isinstance(message, wire.Scaling):
            return [*self.forecasts.heard(t, message, self.now)]
        if isinstance(message, wire.Batch):
            self._fed(t, message)
        if isinstance(message, wire.Bye):
            self._bye = message
            self._cost(message)
        return []

    def _event(self, t: float, message: wire.Event) -> list[Record]:
        name = harmless(message.name, 40)
        if name == EVENT:
            try:
                self.marks.heard(t, message.data)
            except msgspec.ValidationError:
                self.malformed += 1
        if self.troubles.concerns(name):
            return self.troubles.heard(t, name, message)
        record = EventRecord(
            t=t, rank=message.rank, name=name, message=harmless(message.message), data=harmless_data(message.data)
        )
        self.told(record)
        return [record]

    def told(self, event: EventRecord) -> None:
        """An event that says how steps are counted, or left out."""
        skipped = event.data.get("skipped")
        if event.name == "skipped" and isinstance(skipped, int):
            self.skipped = max(self.skipped, skipped)
        elif event.name == "steps" and event.message not in self.counting and len(self.counting) < _COUNTINGS:
            self.counting.append(event.message)

    def _part(self, t: float, message: wire.Modules | wire.Lines | wire.Trace) -> list[Record]:
        part = looks.part(t, message)
        if part is None:
            self.malformed += 1
            return []
        self.looks.part(part)
        return [part]

    def _fed(self, t: float, message: wire.Batch) -> None:
        """For the screen alone: what a person's data looks like is in no log."""
        found = batches.sample(t, message)
        self.malformed += found is None
        self.fed = found or self.fed

    def _cost(self, message: wire.Step | wire.Bye) -> None:
        self.announced_seconds = message.announced_ns / 1e9
        self.taken = message.looks

    def _hello(self, t: float, message: wire.Hello) -> list[Record]:
        self.torch = None if message.torch is None else harmless(message.torch, 40)
        for device in message.devices:
            if device.uuid is not None:
                self.visible[harmless(device.uuid, 60)] = harmless(device.name, 20)
        self._unmix()
        if self.phase in (Phase.STARTING, Phase.IMPORTING):
            self.enter(Phase.WAITING if message.torch else Phase.IMPORTING, t)
        return []

    def _unmix(self) -> None:
        """Forget samples kept under a name that torch gives to another GPU: before its word the names were a guess."""
        told = {name: uuid.removeprefix("GPU-").removeprefix("MIG-") for uuid, name in self.visible.items()}
        for name, sample in list(self.devices.items()):
            if name in told and sample.uuid is not None and not sample.uuid.endswith(told[name]):
                del self.devices[name]
                self._holdings.forget(name)

    def enter(self, phase: Phase, t: float) -> None:
        """The session is in `phase` since `t`."""
        self.phase, self.phase_since = phase, t

    def _model(self, t: float, message: wire.Model) -> list[Record]:
        inputs = [
            InputTensor(shape=one.shape, dtype=harmless(one.dtype, 20), bytes=one.bytes) for one in message.inputs
        ]
        self.model = ModelRecord(
            t=t,
            rank=message.rank,
            name=None if message.name is None else harmless(message.name, 200),
            device=None if message.device is None else harmless(message.device, 20),
            parameters=message.parameters,
            trainable_parameters=message.trainable_parameters,
            bytes=message.bytes,
            modules=message.modules,
            optimizers=[harmless(one, 60) for one in message.optimizers],
            inputs=inputs,
            micro_batches=message.micro_batches,
            sequence=message.sequence,
        )
        self.forecasts.saw(inputs)
        return [self.model]

    def _memory(self, t: float, message: wire.Memory) -> list[Record]:
        if message.moment not in _MOMENTS or message.tier not in _TIERS:
            self.malformed += 1
            return []
        device = harmless(message.device, 20)
        tensors = {name: message.bytes.get(name) for name in TENSORS}
        counted = message.allocator
        counters = _counters(counted)
        if message.moment != "peak":  # What was for an instant is not what is now.
            self._counters[device] = counters
        if counters is not None or not device.startswith("cuda"):  # On CUDA without them the reserve is not known.
            self._holdings.held(device, t, counters.reserved if counters else known(tensors))
        whole = self.whole(device, tensors, counters)
        record = MemoryRecord(
            t=t,
            rank=message.rank,
            device=device,
            step=message.step,
            moment=message.moment,  # type: ignore[arg-type]
            tier=message.tier,  # type: ignore[arg-type]
            sources={"allocator": t, "device": self._source(device)},
            bytes=whole.bytes,
            where=looks.where(message.where),
            allocated=counted.allocated if counted else _followed(device, message.tier, tensors),
            reserved=counted.reserved if counted else None,
            device_total=whole.total,
            notes=[*(harmless(one, 200) for one in message.notes), *whole.notes],
        )
        self._keep(record)
        warned = self.troubles.measured(record)
        return [record, *warned, *(self._retried(t, message.rank, device, counted.retries) if counted else [])]

    def _retried(self, t: float, rank: int, device: str, retries: int) -> list[Record]:
        if retries <= self._retries.get(device, 0):
            return []
        self._retries[device] = retries
        text = f"{device}: an allocation failed and flushed the cache ({retries} so far): the last step before an OOM"
        return [EventRecord(t=t, rank=rank, name="warning", message=text, data={"retries": retries, "device": device})]

    def _keep(self, record: MemoryRecord) -> None:
        self.moments.setdefault(record.device, {})[record.moment] = record
        best = self.highest.get(record.device)
        if best is None or known(record.bytes) > known(best.bytes):
            self.highest[record.device] = record
        self.history.setdefault(record.device, History()).add(record.t, record.bytes, record.step)
        self.looks.moment(record)

    def counters(self, told: wire.Allocator | None) -> Counters | None:
        """The probe's word on an allocator as the ledger wants it."""
        return _counters(told)

    def _source(self, device: str) -> float | None:
        """When the figures around the tensors were read."""
        sample = self.part(self.devices.get(device))
        if sample is None:
            return None
        return sample.tree_pss_t if device == "cpu" and sample.tree_pss_t is not None else sample.t

    def whole(self, device: str, tensors: Mapping[str, int | None], counters: Counters | None) -> Whole:
        """Tensor bytes with what surrounds them on the device, by its newest sample."""
        sample, then = self.part(self.devices.get(device)), self._holdings.then(device)
        if device.startswith("cuda"):
            return on_cuda(tensors, counters, sample, then)
        return on_cpu(tensors, sample, then or 0)

    def sampled(self, samples: Iterable[DeviceRecord]) -> list[Record]:
        """Samples of the devices: remembered with what the target held at that time."""
        records: list[Record] = []
        for sample in samples:
            self.devices[sample.device] = sample
            read_at = self._source(sample.device)
            if read_at is not None:
                self._holdings.read(sample.device, read_at)
            records.append(sample)
        return [*records, *self.forecasts.sampled(max((one.t for one in records), default=0.0), self.now)]

    def _step(self, t: float, message: wire.Step) -> list[Record]:
        seconds = message.seconds
        batch = message.batch_size
        self.step = StepRecord(
            t=t,
            rank=message.rank,
            step=message.step,
            steps=message.steps,
            seconds=seconds,
            phases=message.phases,
            batch_size=batch,
            samples_per_second=batch / seconds if batch is not None and seconds > 0 else None,
            loss=message.loss,
            pass_end=message.pass_end,
        )
        if any(value is not None for value in message.phases.values()):
            self.phased = self.step
            if message.phases.get("forward") is not None:
                self.before_backward.append(sum(message.phases.get(name) or 0.0 for name in _BEFORE_BACKWARD))
        self._paced(t, seconds * message.steps, message.steps)
        if message.trained_ns > 0:
            self.overhead_percent = 100 * message.spent_ns / message.trained_ns
        self._cost(message)
        for history in self.history.values():
            history.add_loss(t, message.loss)
        if self.phase not in (Phase.PAUSED, Phase.ENDED):
            self.enter(Phase.TRAINING, t)
        return [self.step, *self.troubles.stepped(t)]

    def _paced(self, t: float, seconds: float, steps: int) -> None:
        """So many steps took so long, up to run second `t`."""
        self._rates.append((t, seconds, steps))
        while self._rates[0][0] < t - _RATE_SECONDS:
            self._rates.popleft()

    def steps_per_second(self) -> float | None:
        """Over the last seconds of training, pauses left out."""
        seconds = sum(one[1] for one in self._rates)
        return sum(one[2] for one in self._rates) / seconds if seconds > 0 else None

    def now(self, device: str) -> MemoryRecord | None:
        """The newest memory record of a device, what surrounds the tensors refreshed by the newest sample.

        Never a peak: that was for an instant, and the screen would stand still on it.
        """
        moments = [record for name, record in self.moments.get(device, {}).items() if name != "peak"]
        if not moments:
            return None
        newest = max(moments, key=lambda record: record.t)
        counters = self._counters.get(device)
        whole = self.whole(device, {name: newest.bytes.get(name) for name in TENSORS}, counters)
        sources = {**newest.sources, "device": self._source(device)}
        return replace(newest, bytes=whole.bytes, device_total=whole.total, sources=sources)

    def before_training(self, device: str) -> MemoryRecord | None:
        """The device as it is while no tensor has been seen: the bar of a session that waits for torch."""
        sample = self.devices.get(device)
        if sample is None:
            return None
        whole = self.whole(device, dict.fromkeys(TENSORS), self._counters.get(device))
        return MemoryRecord(
            t=sample.t,
            device=device,
            step=0,
            moment="step_end",
            tier="counters",
            sources={"allocator": None, "device": self._source(device)},
            bytes=whole.bytes,
            where=None,
            allocated=None,
            reserved=None,
            device_total=whole.total,
            notes=["tensors: none seen yet", *whole.notes],
        )

    def ended(self, t: float, code: int) -> EndRecord:
        """The target is gone with `code` (minus a signal's number)."""
        bye = self._bye
        if bye is not None and bye.seconds > 0:
            self.overhead_percent = 100 * bye.spent_ns / (bye.seconds * 1e9)
        peak = {name: {"tensors": known(one.bytes), **one.bytes} for name, one in self.highest.items()}
        self.end = EndRecord(
            t=t,
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            steps=max(bye.steps if bye else 0, self.step.step if self.step else 0),
            seconds=t,
            peak=peak,
            dropped=(bye.dropped if bye else 0) + self.malformed,
            overhead_percent=self.overhead_percent,
            announced_seconds=self.announced_seconds,
            looks=self.taken,
        )
        self.enter(Phase.ENDED, t)
        return self.end


def _counters(told: wire.Allocator | None) -> Counters | None:
    if told is None:
        return None
    return Counters(requested=told.requested, allocated=told.allocated, active=told.active, reserved=told.reserved)


def _followed(device: str, tier: str, tensors: Mapping[str, int | None]) -> int | None:
    """What the CPU's allocator was asked for: it keeps no count, so only a look that followed every storage knows."""
    whole = device == "cpu" and tier == "deep" and all(count is not None for count in tensors.values())
    return known(tensors) if whole else None
