"""The probe put together: moments come from `steps`, bytes from `tracker`, permission from `governor`."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from . import allocator, cap, deep, inputs, untraced, wire
from .clock import Clock
from .forwards import Forwards
from .governor import Governor, Tier
from .leaking import Leaking
from .loss import Loss
from .oom import Ooms
from .orders import Orders
from .raises import Raises
from .sample import Samples
from .steps import EDGE, Steps, prices
from .storages import solid, tensors
from .telling import Telling
from .tracker import Tracker
from .transport import Transport
from .unhooked import Unhooked
from .visited import Visited

_RECORD_GAP_NS = 100_000_000
"""At most ten `step` records a second."""
_EARLY = 8
"""Steps that are told one by one and at once: a program may end after few of them, without a word."""
_EARLY_NS = 3_000_000_000
"""What is told in this time leaves at once, too."""
_NEAR_NS = 1_000_000_000
"""A step that may come in this time is waited for one by one; longer than between two looks at thinned steps."""
_HOLD_S = 2.0
"""How long the step after the last one is held back, at most, for the monitor to end the program."""
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


class Probe(Telling, Unhooked, Visited, Leaking):
    """Watches the steps of one process. Everything runs on the training thread but for the transport."""

    def __init__(self, link: Transport, budget: float) -> None:
        super().__init__()
        self._link = link
        self._governor = Governor(budget, *prices())
        self._inputs = inputs.Inputs()
        self._tracker = Tracker(self._inputs)
        self._loss = Loss()
        self._steps = Steps(self, self._failed)
        self._forwards = Forwards(self, self._failed)
        self._will_know = False
        """Whether Dynamo will tell us before it compiles anything."""
        self._last = int(os.environ.get("MEMTOP_STEPS", "0"))
        """The step after which the monitor ends this program; 0 for none."""
        self._holding = False
        self._started = time.monotonic_ns()
        self._clock = Clock()
        self._follow_leaks(asks=budget > 0)
        self._ooms = Ooms(link, self._tracker, self._inputs, lambda: self._clock.step)
        self._raises = Raises(lambda error: self._ooms.passing(error, unwound=True))
        self._orders = Orders(link, self._governor.ask_deep, self._send_step)
        self._deep: deep.DeepStep | None = None
        self._samples: Samples | None = None
        """Of the newest look: on their way from a device, not told yet."""
        self._watching = True
        self._broken = False
        self._forward_seen = False
        self._described: dict[str, Any] | None = None
        self._forecast: set[tuple[Any, ...]] = set()
        """Device, batch and shape of a sample that a whole forecast was told of."""
        self._facts: dict[str, Any] = {}

    def begin(self) -> None:
        """Say hello and put the hooks in."""
        self._facts = allocator.facts()
        self._link.send(wire.hello(self._facts))
        cap.await_cuda()
        self._await_visits(self._facts)
        self._link.last_words = self._last_words
        from importlib import import_module

        inputs.wrap(import_module("torch.utils.data.dataloader"), self._inputs, self._took)
        self._steps.install()
        self._link.tick = self._steps.tick
        self._steps.watch_backward(True)
        self._forwards.watch(self._link.alive)
        untraced.exempt()
        self._raises.watch()
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        """In a forked child, a loader's worker perhaps: nothing is watched."""
        self._raises.remove()
        self._steps.remove()
        self._forwards.remove()
        self._inputs.quiet = True
        self._drop_deep()

    @untraced.blind
    def _took(self, batch: Any, elapsed_ns: int, iterator: Any) -> None:
        if not self._link.alive:
            return
        began = time.thread_time_ns()
        try:
            if self._clock.step == 0 and self._inputs.samples is None:
                # What lies before the first batch is no part of a step: imports, building the model.
                self._clock.begin(time.monotonic_ns() - elapsed_ns)
            self._inputs.took(batch, elapsed_ns, iterator)
            self._loaded(batch)
            self._ooms.attach()
        except Exception as error:
            self._failed(error)
        self._book(began)

    def _loaded(self, batch: Any) -> None:
        """A batch, for the deep look. Many of them in one step are an evaluation between two steps, perhaps: a look
        that has been given up need not stay around that."""
        if self._deep is None:
            return
        if self._deep.broken is None:
            self._deep.loaded(batch)
        else:
            self._given_up(self._deep)
            self._drop_deep()

    @untraced.blind
    def backward_begins(self, roots: list[Any]) -> None:
        """A backward of a watched step begins. Before the first, activations are at their highest."""
        if self._holding:
            self._hold()
        if self._infers or not self._steps.seen:
            self._trains(roots)
        if not self._link.alive or (self._forward_seen and self._deep is None):
            return
        started, began = time.monotonic_ns(), time.thread_time_ns()
        first, self._forward_seen = not self._forward_seen, True
        if first:
            self._loss.poll()
            self._loss.saw(roots[0])
            self._rescan_if_blind()
        if self._deep is not None:
            self._deep.backward_begins(roots, sys._getframe(), first)
        else:
            self._report("forward_end", self._tracker.forward_ended(roots))
        self._book(began)
        if first:
            self._clock.backward_began(started, time.monotonic_ns())

    @untraced.blind
    def backward_ended(self) -> None:
        """A backward of a watched step has returned, or raised."""
        self._inputs.backward_ended()
        self._ooms.passing(sys.exc_info()[1], unwound=True)
        if self._deep is not None:
            self._deep.backward_ended()

    @untraced.blind
    def optimizer_begins(self, optimizer: Any) -> None:
        """`backward_end`, for an optimizer's pre-hook."""
        if self._holding:
            self._hold()
        started = time.monotonic_ns()
        self._infers = False
        if self._link.alive:
            began = time.thread_time_ns()
            self._tracker.saw(optimizer)
            first = self._clock.backward_ended(started)
            if first:
                self._rescan_if_blind()
            if self._deep is not None:
                self._deep.optimizer_begins(sys._getframe(), first)
            elif first:
                self._report("backward_end", self._tracker.later())
            self._book(began)
        self._clock.optimizer_began(started, time.monotonic_ns())

    @untraced.blind
    def optimizer_ended(self, optimizer: Any) -> None:
        """An optimizer's outermost `step()` has returned."""
        self._clock.optimizer_ended(time.monotonic_ns())
        if self._deep is not None:
            self._deep.optimizer_ended()
        if not self._steps.is_first(optimizer):
            self._inputs.others_step()

    # -- the end of a step -------------------------------------------------------------------------------------------

    @untraced.blind
    def step_ended(self) -> None:
        """`step_end`, before gradients are cleared; decides about the next step."""
        started, began = time.monotonic_ns(), time.thread_time_ns()
        looked, self._deep, self._inputs.look = self._deep, None, None
        if self._unseen(started):
            if looked is not None:
                looked.leave()
            return
        if looked is not None:
            looked.step_ended()
        else:
            self._report("step_end", self._tracker.later())
        self._describe()
        self._tracker.forget()
        wall = self._clock.since_begin(started)
        self._clock.step_ended(started, self._inputs.data_ns, self._inputs.samples)
        self._inputs.step_ended()
        self._book(began)
        now = time.monotonic_ns()
        self._governor.settle(now, wall + now - started)
        if looked is not None:
            self._tell(looked)
        self._between()

    def _tell(self, looked: deep.DeepStep) -> None:
        """Work out what a deep look saw, and send it."""
        began = time.thread_time_ns()
        if looked.broken is not None:
            self._given_up(looked)
        else:
            for record in looked.records():
                if record["kind"] != "scaling" or self._is_news(record, looked.settled):
                    self._link.send(record)
            if looked.samples is not None:
                self._samples = looked.samples.tell(self._link.send)
            if (waits := looked.syncs()) is not None:
                self._link.send(wire.event("syncs", waits[0], **waits[1]))
            if looked.found is not None:
                self._leaks_looked(looked.found)
        self._governor.deep_cost(time.thread_time_ns() - began, time.monotonic_ns())

    def _is_news(self, scaling: dict[str, Any], settled: bool) -> bool:
        """Whether a forecast is worth telling: not one that may lack the batch before, where a better one was told."""
        of = (scaling["device"], scaling["batch_size"], *scaling["sample_shape"])
        if settled:
            self._forecast.add(of)
        return settled or of not in self._forecast

    def _given_up(self, looked: deep.DeepStep) -> None:
        self._link.send(wire.event("look", f"the deep look at step {looked.step} was given up: {looked.broken}"))

    @untraced.blind
    def quiet_step(self) -> None:
        """An unwatched step has ended, and it is time to look."""
        self._count_quiet(time.monotonic_ns())
        self._between()

    def _count_quiet(self, now: int) -> None:
        """The unwatched steps since the last look, all at once."""
        count, skipped = self._steps.take(), self._steps.take_skipped()
        if skipped:
            self._skipped(skipped)
        if count:
            elapsed = self._clock.quiet_steps_ended(now, count, skipped)
            self._governor.quiet(count, elapsed, self._steps.thinned, now)

    def _between(self) -> None:
        """Between two steps: obey, report, decide about the next."""
        if not self._link.alive:
            self._rest()
            return
        self._meet()
        self._orders.obey(self._clock.step)
        self._count_tensors()
        began, entered = time.thread_time_ns(), time.monotonic_ns()
        early = self._clock.step <= _EARLY
        self._decide(entered, early)
        now = time.monotonic_ns()
        if early or (self._clock.reported_ns >= entered and now < self._started + _EARLY_NS):
            self._link.flush()
        self._governor.book_between(time.thread_time_ns() - began, now, early)
        if self._last and self._clock.step >= self._last:
            self._reached()
        self._clock.begin()

    def _reached(self) -> None:
        """The last step that was asked for has ended: say so. What the program prints of it comes yet, so it is not
        held here, but where the next step shows itself."""
        self._last, self._holding = 0, True
        self._send_step()
        self._link.flush()
        self._steps.quiet = False
        self._steps.watch_backward(True)

    def _hold(self) -> None:
        """Leave the monitor time to end the program."""
        self._holding = False
        until = time.monotonic() + _HOLD_S
        while self._link.alive and time.monotonic() < until:
            time.sleep(0.01)

    def _is_near(self) -> bool:
        """Whether the last step asked for, or one that a hunt for a leak awaits, may come within a second."""
        ahead = _NEAR_NS / self._governor.usual_ns if self._governor.usual_ns else _EARLY
        step = self._clock.step
        return 0 < self._last <= step + ahead + 1 or self._sparse.awaits(step, int(ahead) + 1)

    def _decide(self, now: int, early: bool) -> None:
        """Whether the next step is watched, and whether a `step` record is due."""
        if early or now - self._clock.reported_ns >= _RECORD_GAP_NS:
            self._send_step()
        self._news_of_leaks()
        seen, tier = self._watching, self._governor.may_watch(self._clock.step + 1, now, self._link.spent_ns)
        if tier is Tier.DEEP and not seen and not self._governor.announced:
            # What a step begins with, the batch before its own above all, is known of a watched step alone.
            self._governor.prepare()
            tier = Tier.GRAPH
        self._watching = bool(tier)
        self._will_know = self._will_know or untraced.on_compile(self._compiles)
        one_by_one = self._clock.step < _EARLY or self._is_near()
        self._steps.thin = self._governor.thin and self._will_know and not one_by_one
        self._steps.quiet = self._inputs.quiet = not self._watching
        self._steps.look_at = min(self._governor.next_ns, self._clock.reported_ns + _RECORD_GAP_NS)
        if one_by_one:
            self._steps.look_at = 0
        self._forward_seen = False
        self._steps.watch_backward(self._watching or self._steps.by_backward)
        self._forwards.watch(self._infers or (tier > Tier.NONE and self._governor.announced))
        if self._infers and self._governor.too_dear:
            self._forwards.remove()
            words = "the forward passes are too short to be seen within the budget: they are counted no further"
            self._link.send(wire.event("steps", f"{words}; a higher --overhead shows them"))
        if tier is Tier.DEEP:
            self._look_deep(seen)

    def _look_deep(self, seen: bool) -> None:
        """Put a deep look around the step that begins now. What the person watches with comes first. `seen`: whether
        the step before was watched."""
        reason = deep.obstacle()
        if reason is not None:
            self._governor.declined()
            self._link.send(wire.event("look", f"no deep look at step {self._clock.step + 1}: {reason}"))
            return
        if self._governor.announced or self._tracker.blind:
            self._tracker.scan()
        self._deep = self._inputs.look = deep.DeepStep(self._tracker, self._inputs, self._clock.step + 1, (EDGE,))
        self._deep.on_raise(self._ooms.passing)
        self._deep.settled = seen
        if self._governor.announced:
            self._deep.samples = Samples(self._clock.step + 1)
        self._deep.hold([solid(one) for one in tensors(self._result)])

    def _compiles(self) -> None:
        """Dynamo begins to compile something: what it looks at must stay as it is from here on."""
        self._steps.hold_still()
        self._forwards.remove()

    def _drop_deep(self) -> None:
        """Give a running look up."""
        looked, self._deep, self._inputs.look = self._deep, None, None
        if looked is not None:
            looked.leave()

    def _send_step(self) -> None:
        self._loss.poll()
        if self._samples is not None:
            self._samples = self._samples.tell(self._link.send)
        facts = self._clock.take()
        if facts is not None:
            left = self._inputs.steps_left()
            facts |= {"pass_end": None if left is None else self._clock.step + left}
            facts |= self._costs() | {"loss": self._loss.value, "trained_ns": self._clock.trained_ns}
            self._link.send(wire.step(facts))

    def _costs(self) -> dict[str, int]:
        """What watching has cost so far, within the budget and beside it, and the deep looks taken."""
        known = self._governor
        return {"spent_ns": known.spent_ns, "announced_ns": known.announced_ns, "looks": known.looks}

    def _rescan_if_blind(self) -> None:
        if self._tracker.blind:
            self._tracker.scan()

    def _book(self, began: int) -> None:
        """Processor time, not wall time: being descheduled here is not a cost of ours."""
        self._governor.book(time.thread_time_ns() - began, time.monotonic_ns())

    def _failed(self, error: Exception) -> None:
        """Something of ours broke: watching ends, training goes on, the monitor is told, once."""
        if self._broken:
            return
        self._broken = True
        self._drop_deep()
        self._raises.remove()
        self._steps.remove()
        self._forwards.remove()
        self._inputs.quiet = True
        self._link.send(wire.event("probe", f"watching has ended: {type(error).__name__}: {error}"))

    def _last_words(self) -> None:
        try:
            self._count_quiet(time.monotonic_ns())
            self._skipped(0)
            self._send_step()
        except Exception as error:
            self._failed(error)
        self._ooms.at_exit()
        facts = {"steps": self._clock.step, "seconds": self._clock.trained_ns / 1e9, "dropped": self._link.dropped}
        self._link.send(wire.bye(facts | self._costs()))
