"""The probe put together: moments come from `steps`, bytes from `tracker`, permission from `governor`."""

from __future__ import annotations

import os
import time
from typing import Any

from . import allocator, describe, inputs, wire
from .clock import Clock
from .governor import Governor
from .loss import Loss
from .steps import Steps
from .storages import Ledger
from .tracker import CATEGORIES, Tracker
from .transport import Transport

_HOOKS_NS = 3_000
"""What the hooks of one unwatched step cost, nanoseconds: 1 µs when called in a row, up to 4 in pairs of whole steps
with and without them, on torch 2.13. Too short to be measured each time without doubling it."""
_RECORD_GAP_NS = 100_000_000
"""At most ten `step` records a second."""
_probe: Probe | None = None


def start(path: str, early: Transport | None) -> None:
    """Begin watching this process. Starting twice is starting once."""
    global _probe
    if _probe is not None:
        return
    link = early or Transport(path, owned=False)
    if early is None and not link.connect():
        return
    _probe = Probe(link, float(os.environ.get("MEMTOP_OVERHEAD", "1")) / 100)
    _probe.begin()


class Probe:
    """Watches the steps of one process. Everything runs on the training thread but for the transport."""

    def __init__(self, link: Transport, budget: float) -> None:
        self._link = link
        self._governor = Governor(budget)
        self._inputs = inputs.Inputs()
        self._tracker = Tracker(self._inputs)
        self._loss = Loss()
        self._steps = Steps(self, self._failed)
        self._clock = Clock()
        self._watching = True
        self._look_ns = 0
        self._quiet = 0
        self._forward_seen = False
        self._described: dict[str, Any] | None = None
        self._facts: dict[str, Any] = {}

    def begin(self) -> None:
        """Say hello and put the hooks in."""
        self._facts = allocator.facts()
        self._link.send(wire.hello(self._facts))
        self._link.last_words = self._last_words
        from importlib import import_module

        inputs.wrap(import_module("torch.utils.data.dataloader"), self._inputs, self._took)
        self._steps.install()
        self._steps.watch_backward(True)

    def _took(self, batch: Any, elapsed_ns: int) -> None:
        if not self._link.alive:
            return
        began = time.thread_time_ns()
        try:
            if self._clock.step == 0 and self._inputs.samples is None:
                # What lies before the first batch is no part of a step: imports, building the model.
                self._clock.begin(time.monotonic_ns() - elapsed_ns)
            self._inputs.took(batch, elapsed_ns)
        except Exception as error:
            self._failed(error)
        self._book(began)

    def backward_begins(self, roots: list[Any]) -> None:
        """The first backward of a watched step: activations are at their highest."""
        if self._forward_seen or not self._link.alive:
            return
        started, began = time.monotonic_ns(), time.thread_time_ns()
        self._forward_seen = True
        self._loss.poll()
        self._loss.saw(roots[0])
        self._rescan_if_blind()
        self._report("forward_end", self._tracker.forward_ended(roots))
        self._book(began)
        self._clock.backward_began(started, time.monotonic_ns())

    def optimizer_begins(self, optimizer: Any) -> None:
        """`backward_end`, for an optimizer's pre-hook."""
        started = time.monotonic_ns()
        if self._link.alive:
            began = time.thread_time_ns()
            self._tracker.saw(optimizer)
            if self._clock.backward_ended(started):
                self._rescan_if_blind()
                self._report("backward_end", self._tracker.later())
            self._book(began)
        self._clock.optimizer_began(started, time.monotonic_ns())

    def optimizer_ended(self, optimizer: Any) -> None:
        """An optimizer's outermost `step()` has returned."""
        self._clock.optimizer_ended(time.monotonic_ns())

    def step_ended(self) -> None:
        """`step_end`, before gradients are cleared; decides about the next step."""
        started, began = time.monotonic_ns(), time.thread_time_ns()
        self._report("step_end", self._tracker.later())
        self._describe()
        self._tracker.forget()
        self._clock.step_ended(started, self._inputs.data_ns, self._inputs.samples)
        self._inputs.step_ended()
        self._book(began)
        self._governor.settle(time.monotonic_ns())
        self._between()

    def quiet_step(self) -> None:
        """An unwatched step has ended."""
        self._quiet += 1
        now = time.monotonic_ns()
        if now >= self._look_ns:
            self._count_quiet(now)
            self._between()

    def _count_quiet(self, now: int) -> None:
        """The unwatched steps since the last look, all at once."""
        if self._quiet:
            self._clock.quiet_steps_ended(now, self._quiet)
            self._governor.book(self._quiet * _HOOKS_NS, False, self._clock.step)
            self._quiet = 0

    def _between(self) -> None:
        """Between two steps: obey, report, decide about the next."""
        if not self._link.alive:
            self._steps.remove()
            self._inputs.quiet = True
            return
        self._obey()
        began = time.thread_time_ns()
        self._decide(time.monotonic_ns())
        self._governor.book(time.thread_time_ns() - began, False, self._clock.step)
        self._clock.begin()

    def _decide(self, now: int) -> None:
        """Whether the next step is watched, and whether a `step` record is due."""
        if now - self._clock.reported_ns >= _RECORD_GAP_NS or (self._watching and self._clock.step <= 2):
            self._send_step()
        self._watching = self._governor.may_watch(self._clock.step + 1, now, self._link.spent_ns)
        self._steps.quiet = self._inputs.quiet = not self._watching
        self._look_ns = min(self._governor.next_ns, self._clock.reported_ns + _RECORD_GAP_NS)
        self._forward_seen = False
        self._steps.watch_backward(self._watching)

    def _send_step(self) -> None:
        self._loss.poll()
        facts = self._clock.take()
        if facts is not None:
            spent = self._governor.spent(self._link.spent_ns)
            facts |= {"loss": self._loss.value, "spent_ns": spent, "trained_ns": self._clock.trained_ns}
            self._link.send(wire.step(facts))

    def _report(self, moment: str, ledger: Ledger) -> None:
        """One memory record for each device that holds something of the model."""
        devices = set(ledger.bytes) if len(ledger.bytes) == 1 else self._devices(ledger)
        for device in sorted(devices):
            known = ledger.bytes.get(device, {})
            bytes_: dict[str, int | None] = {name: known.get(name, 0) for name in CATEGORIES}
            if moment != "forward_end" and not self._forward_seen:
                bytes_["activations"] = None
            facts = {"device": device, "step": self._clock.step + 1, "moment": moment, "tier": "graph", "where": None}
            bytes_ |= {"temporaries": None, "other_tensors": None}
            counted = allocator.counters(device)
            notes = sorted(self._tracker.notes)
            self._link.send(wire.memory(facts | {"bytes": bytes_, "allocator": counted, "notes": notes}))

    def _devices(self, ledger: Ledger) -> set[str]:
        """Devices with more than a stray scalar of state on them: where the parameters are, else all."""
        home = {device for device, known in ledger.bytes.items() if known.get("parameters")}
        return home or set(ledger.bytes)

    def _describe(self) -> None:
        """A `model` record, when the model or the shape of its inputs has changed."""
        if not self._facts["devices"] and (facts := allocator.facts())["devices"]:
            self._facts = facts
            self._link.send(wire.hello(facts))
        described = describe.model(self._tracker, self._inputs)
        if described != self._described:
            self._described = described
            self._link.send(wire.model(described))

    def _rescan_if_blind(self) -> None:
        if self._tracker.blind:
            self._tracker.scan()

    def _obey(self) -> None:
        """Apply the monitor's commands: we stand between two steps."""
        while (command := self._link.command()) is not None:
            number, name = int(command.get("id", 0)), command.get("name")
            if name == "pause":
                self._link.send(wire.ack(number, self._clock.step))
                self._wait()
            elif name == "resume":
                self._link.send(wire.ack(number, self._clock.step))
            else:
                self._link.send(wire.fault(number, f"unknown command {name!r}", "use one memtop on both sides"))

    def _wait(self) -> None:
        """Paused: wait for `resume`, or for the monitor to go away."""
        self._send_step()
        while self._link.alive:
            command = self._link.command()
            if command is not None:
                self._link.send(wire.ack(int(command.get("id", 0)), self._clock.step))
                if command.get("name") == "resume":
                    return
            time.sleep(0.02)

    def _book(self, began: int) -> None:
        """Processor time, not wall time: being descheduled here is not a cost of ours."""
        cost = time.thread_time_ns() - began
        self._governor.book(cost, True, self._clock.step + 1)

    def _failed(self, error: Exception) -> None:
        """Something of ours broke: watching ends, training goes on, the monitor is told."""
        self._steps.remove()
        self._inputs.quiet = True
        self._link.send(wire.event("probe", f"watching has ended: {type(error).__name__}: {error}"))

    def _last_words(self) -> None:
        self._count_quiet(time.monotonic_ns())
        self._send_step()
        spent = self._governor.spent(self._link.spent_ns)
        self._link.send(wire.bye(self._clock.step, self._clock.trained_ns / 1e9, spent, self._link.dropped))
