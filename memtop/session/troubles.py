"""What needs a person's action, of the present run: memory that ran out or will, leaks, waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from memtop.model import leaks, oom_text
from memtop.model.categories import TENSORS
from memtop.model.i18n import _
from memtop.model.leaks import Leak, Wait, Waits
from memtop.model.ledger import known
from memtop.model.oom import Explanation
from memtop.model.process_limit import DEVICE
from memtop.model.records import EndRecord, EventRecord, MemoryRecord, Record
from memtop.model.snapshot import Banner
from memtop.model.text import one_line
from memtop.model.trend import Seen, Trend
from memtop.protocol import leaks as leaks_wire
from memtop.protocol import oom as oom_wire
from memtop.protocol import records as wire
from memtop.session.ooms import Before, Ooms, as_data

if TYPE_CHECKING:
    from memtop.session.state import State

Key = tuple[str | None, int | str | None]
"""File and line of a leak; where they are not known, `None` and what holds it."""
_NAMES = frozenset({"oom", "oom_end", "leak", "leak_over", "syncs"})
_LEAKS = 20
_SIGKILL = 9
_CAUGHT = 60.0
"""Seconds for which an error that the program caught stands in the banner."""


class Troubles:
    """Joins what the probe tells with what the state knows."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.ooms = Ooms()
        self.rank: int | None = None
        """Which of several ranks this is; `None` where there is one."""
        self.elsewhere: Explanation | None = None
        """Of several, another rank's failure."""
        self.leaks: dict[Key, Leak] = {}
        """Those over included."""
        self.waits: Waits | None = None
        self.trends: dict[str, Trend] = {}

    def concerns(self, name: str) -> bool:
        """Whether an event of this name is for us."""
        return name in _NAMES

    def heard(self, t: float, name: str, message: wire.Event) -> list[Record]:
        """A probe's event: the records it makes."""
        try:
            if name == "oom":
                return [self._oom(t, message)]
            if name == "leak":
                return [self._leak(t, message)]
            if name == "leak_over":
                return self._over(t, message)
            if name == "syncs":
                return [self._waits(t, message)]
        except msgspec.ValidationError:
            self._state.malformed += 1
        return []

    def stepped(self, t: float) -> list[Record]:
        """A `step` record came: an out-of-memory error before it was caught."""
        step = self._state.step
        return self._caught(t, step.rank) if step is not None and self.ooms.stepped(step.step) else []

    def _caught(self, t: float, rank: int) -> list[Record]:
        told = self.ooms.newest
        if told is None:
            return []
        text = oom_text.headline(told)
        return [EventRecord(t=t, rank=rank, name="oom_caught", message=text, data={"step": told.step})]

    def measured(self, record: MemoryRecord) -> list[Record]:
        """A memory record: whether it foretells that memory will run out."""
        if record.moment != "forward_end" or record.bytes.get("activations") is None:
            return []
        leaking = self._leaking(record.device)
        free = self._free(record, leaking)
        if free is None:
            return []
        held = _held(record)
        forecast = self._state.forecasts.newest(record.device)
        if forecast is not None and forecast.limit_bytes is not None and forecast.limit_is != DEVICE:
            free = min(free, max(0, forecast.limit_bytes - held))  # The process's own limit comes first.
        model = self._state.model
        given = model.inputs[0].shape if model is not None and model.inputs else []
        image = self._image(record.device, given)
        seen = Seen(
            step=record.step,
            held=held,
            inputs=record.bytes.get("inputs") or 0,
            free=free,
            length=image[0] * image[1] if image else given[1] if len(given) > 1 else None,
            image=image,
        )

        def missing(length: int) -> int | None:
            forecasts = self._state.forecasts
            if image:
                return forecasts.missing_image(record.device, given[0], length)
            return forecasts.missing(record.device, given[0], length)

        shape = "×".join(map(str, given)) or "?"
        found = self.trends.setdefault(record.device, Trend()).add(seen, shape, missing, leaking)
        if found is None:
            return []
        data = {"device": record.device, "steps": found.steps, "remedy": found.remedy}
        return [EventRecord(t=record.t, rank=record.rank, name="warning", message=found.text, data=data)]

    def _leaking(self, device: str) -> int:
        """Bytes a step that the leaks of a device add up to; one whose device is not known is of them."""
        return sum(one.bytes_per_step for one in self.live() if one.device in (device, None))

    def _free(self, record: MemoryRecord, leaking: int) -> int | None:
        """Bytes that can still be had, the allocator's cache included. The device was read up to some seconds before:
        what has leaked since is taken off."""
        free, read, step = record.bytes.get("free"), record.sources.get("device"), self._state.step
        if free is None:
            return None
        age = 0.0 if read is None else max(0.0, record.t - read)
        steps = age / step.seconds if step is not None and step.seconds > 0 else 0.0
        return max(0, free + (record.bytes.get("cached") or 0) - round(leaking * steps))

    def _image(self, device: str, given: list[int]) -> tuple[int, int] | None:
        """Height and width of a batch of images of this shape, in the order that a deep look has seen."""
        made = self._state.forecasts.newest(device)
        if made is None or not made.image or len(given) != 4:
            return None
        return (given[2], given[3]) if made.sample_shape[1:] == made.image else (given[1], given[2])

    def ended(self, end: EndRecord, kills: int | None) -> list[Record]:
        """The target is gone. `kills`: what the kernel's out-of-memory killer ended since the launch."""
        if end.exit_code == 0 and self.ooms.survived():
            return self._caught(end.t, end.rank)
        if end.signal != _SIGKILL:
            return []
        state, step = self._state, self._state.step
        before = Before(moments=state.moments.get("cpu", {}), batch=None if step is None else step.batch_size)
        told = self.ooms.killed(end.t, end.steps + 1, kills, state.now("cpu"), state.devices.get("cpu"), before)
        if told is None:
            return []
        return [
            EventRecord(t=end.t, name="oom", message=oom_text.headline(told), data=as_data(told) | {"kills": kills})
        ]

    def banner(self, device: str, t: float) -> Banner | None:
        """What needs action first, at run second `t`."""
        told = self.oom
        if told is not None and (not told.caught or t - told.t < _CAUGHT):
            severity = "warning" if told.caught else "error"
            return Banner(severity=severity, text=oom_text.headline(told, _), remedy=oom_text.advice(told, _))
        trend = self.trends.get(device)
        leak = max(self.live(), key=lambda one: one.bytes_per_step, default=None)
        if leak is not None:
            text = leaks.headline(leak, _)
            if trend is not None and trend.warning is not None and trend.warning.steps is not None:
                text = _("{leak}; full in about {steps:,} steps").format(leak=text, steps=trend.warning.steps)
            return Banner(severity="warning", text=text, remedy=leaks.remedy(leak, _))
        if trend is not None and trend.warning is not None:
            return Banner(severity="warning", text=trend.warning.text, remedy=trend.warning.remedy)
        return None

    @property
    def own(self) -> Explanation | None:
        """This rank's newest failure, with its rank where there are several."""
        told = self.ooms.newest
        return told if told is None or self.rank is None else replace(told, rank=self.rank)

    @property
    def oom(self) -> Explanation | None:
        """The failure to be told: this rank's; another's where this one has none, or has caught its own."""
        own, other = self.own, self.elsewhere
        return other if own is None or (own.caught and other is not None and not other.caught) else own

    def live(self) -> list[Leak]:
        """Leaks that are not over, most bytes a step first."""
        return sorted((one for one in self.leaks.values() if not one.over), key=lambda one: -one.bytes_per_step)

    def _oom(self, t: float, message: wire.Event) -> Record:
        told = oom_wire.decode(message.data)
        device = one_line(told.device, 20)
        tensors = {name: told.bytes.get(name) for name in TENSORS}
        whole = self._state.whole(device, tensors, self._state.counters(told.allocator))
        good = {name: one for name, one in self._state.moments.get(device, {}).items() if one.step <= told.step}
        step, forecast = self._state.step, self._state.forecasts.newest(device)
        made = self.ooms.heard(
            t,
            told,
            whole,
            Before(
                moments=good,
                batch=None if step is None else step.batch_size,
                forecast=forecast,
                room=lambda batch: self._state.forecasts.room(device, batch, self._state.now),
                look=self._state.looks.newest(device),
                model=self._state.model,
                sample=self._state.devices.get(device),
            ),
        )
        return EventRecord(
            t=t,
            rank=message.rank,
            name="oom",
            message=oom_text.headline(made),
            data=as_data(made) | {"fatal": told.fatal},
        )

    def _leak(self, t: float, message: wire.Event) -> Record:
        told = leaks_wire.leak(message.data)
        if told.kind not in leaks.KINDS:
            raise msgspec.ValidationError(f"unknown kind of leak {told.kind!r}")
        place = told.place
        leak = Leak(
            t=t,
            kind=told.kind,
            file=None if place is None else one_line(place.file, 400),
            line=None if place is None else place.line,
            text=None if place is None or place.text is None else one_line(place.text, 200),
            module=None if told.module is None else one_line(told.module, 300),
            category=None if told.category is None else one_line(told.category, 30),
            device=None if told.device is None else one_line(told.device, 20),
            tensors_per_step=told.tensors_per_step,
            bytes_per_step=told.bytes_per_step,
            bytes_each=told.bytes_each,
            since=told.since,
            holder=None if told.holder is None else one_line(told.holder, 100),
        )
        if len(self.leaks) < _LEAKS:
            self.leaks[_key(told.place, told.holder)] = leak
        more = [f"{one_line(one.file, 400)}:{one.line}" for one in told.more]
        data = leaks.as_data(leak) | {"more": more}
        return EventRecord(t=t, rank=message.rank, name="leak", message=leaks.headline(leak), data=data)

    def _over(self, t: float, message: wire.Event) -> list[Record]:
        told = leaks_wire.over(message.data)
        key = _key(told.place, told.holder)
        if key not in self.leaks:
            return []
        leak = self.leaks[key] = replace(self.leaks[key], over=True)
        text = leaks.headline(leak)
        return [EventRecord(t=t, rank=message.rank, name="leak_over", message=text, data=leaks.as_data(leak))]

    def _waits(self, t: float, message: wire.Event) -> Record:
        told = leaks_wire.waits(message.data)
        self.waits = Waits(
            step=told.step, count=told.count, seconds=told.seconds, rows=tuple(_wait(row) for row in told.rows)
        )
        data = msgspec.to_builtins(self.waits)
        return EventRecord(t=t, rank=message.rank, name="syncs", message=one_line(message.message), data=data)


def _held(record: MemoryRecord) -> int:
    """Tensor bytes: all that the allocator counts, where one does; else what every watched step knows of."""
    seen = known(record.bytes | dict.fromkeys(("temporaries", "other_tensors")))
    return seen if record.allocated is None else record.allocated


def _key(place: oom_wire.Where | None, holder: str | None) -> Key:
    return (None, holder) if place is None else (one_line(place.file, 400), place.line)


def _wait(row: leaks_wire.Wait) -> Wait:
    return Wait(
        file=None if row.file is None else one_line(row.file, 400),
        line=row.line,
        text=None if row.text is None else one_line(row.text, 200),
        operator=one_line(row.operator, 60),
        device=one_line(row.device, 20),
        phase=one_line(row.phase, 20),
        count=row.count,
        seconds=row.seconds,
    )
