"""The steps that torch's optimizer hooks don't show: forward passes of a program that only infers, backwards of one
whose optimizer is none of torch's or none at all, and steps that a GradScaler left out."""

from __future__ import annotations

import time
from typing import Any

from . import graph, untraced, wire
from .clock import Clock
from .deep import DeepStep
from .forwards import Roots, compiling, price
from .governor import Governor
from .inputs import Inputs
from .stepping import Waiting
from .steps import Steps
from .storages import Ledger, solid, tensors
from .tracker import Tracker
from .transport import Transport


class Unhooked:
    """The part of the probe that knows of them."""

    _link: Transport
    _governor: Governor
    _inputs: Inputs
    _tracker: Tracker
    _steps: Steps
    _clock: Clock
    _deep: DeepStep | None
    _forward_seen: bool

    def __init__(self) -> None:
        self._call_ns = price()
        self._roots = Roots()
        self._waiting = Waiting()
        self._infers = self._unsure = False
        """Whether steps are forward passes; whether one may have been that a backward still follows."""
        self._began_at = 0
        self._result: Any = None
        """What the forward pass that has just ended returned."""
        self._skips = self._skips_told = self._skips_told_ns = 0

    def _book(self, began: int) -> None:
        raise NotImplementedError

    def _between(self) -> None:
        raise NotImplementedError

    def _report(self, moment: str, ledger: Ledger) -> None:
        raise NotImplementedError

    def _rescan_if_blind(self) -> None:
        raise NotImplementedError

    def _drop_deep(self) -> None:
        raise NotImplementedError

    def _trains(self, roots: list[Any]) -> None:
        """A backward begins, and no optimizer was seen to step yet."""
        self._infers = self._unsure = False
        if self._steps.by_backward:
            self._tracker.trains(graph.leaves(roots))
        if not self._waiting.backward():
            return
        self._tracker.scan()
        found = self._tracker.steppers
        for kind in found.kinds:
            self._steps.adopt(kind)
        if not found.kinds and (compiling() or not found.any_hooked):
            self._steps.by_backward = True
            why = "they run inside a compiled function" if found.any_hooked else "there is none"
            self._link.send(wire.event("steps", f"no step of an optimizer is seen ({why}): each backward ends a step"))

    @untraced.blind
    def forward_begins(self, root: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        """A root module is called."""
        if self._unsure:
            self._infers, self._unsure = self._none_trains(), False
            if self._infers:
                self._steps.other_ended()
        self._began_at = time.monotonic_ns()
        inside = self._steps.inside
        if self._steps.quiet or not self._link.alive or inside == "backward" or not self._roots.trained(root):
            return
        began = time.thread_time_ns()
        self._inputs.entered(root, (given, named), inside == "optimizer")
        if self._deep is not None:
            self._deep.entered(given, named)
        self._book(began)

    @untraced.blind
    def forward_ended(self, root: Any, result: Any, calls: int) -> None:
        """A root module has returned: a step has ended, in a program that does not train."""
        if self._waiting.begun or self._steps.seen or not self._link.alive or not self._roots.closes(root):
            return
        if not self._infers:
            if any(one.requires_grad for one in tensors(result)):
                self._unsure = True
                return
            self._infers = self._none_trains()
        if self._infers:
            self._pass_ended(result, calls)

    def _none_trains(self) -> bool:
        """Whether the process has no optimizer."""
        if self._infers:
            return True
        self._tracker.scan()
        return not self._tracker.steppers.any_hooked and not self._tracker.steppers.kinds

    def _pass_ended(self, result: Any, calls: int) -> None:
        self._result = result
        try:
            if not self._steps.quiet:
                self._watched_pass([solid(one) for one in tensors(result)])
            self._governor.price(calls * self._call_ns)
            self._steps.other_ended()
        finally:
            self._result = None

    def _watched_pass(self, made: list[Any]) -> None:
        ended, began = time.monotonic_ns(), time.thread_time_ns()
        self._forward_seen = True
        self._rescan_if_blind()
        if self._deep is not None:
            self._deep.forward_ended(made)
        else:
            self._report("forward_end", self._tracker.forward_ended(made))
        self._clock.forward_ran(ended - self._began_at)
        self._book(began)

    @untraced.blind
    def step_skipped(self) -> None:
        """A GradScaler has found gradients that are not finite, and left the optimizer's step out."""
        again = self._deep is not None
        self._drop_deep()
        self._tracker.forget()
        self._inputs.step_ended()
        self._skipped(1)
        if again:
            self._governor.ask_deep()
        self._between()

    def _skipped(self, count: int) -> None:
        """Counted and told, once a second at most and at the end."""
        self._skips += count
        now = time.monotonic_ns()
        if self._skips > self._skips_told and (count == 0 or now >= self._skips_told_ns + 1_000_000_000):
            self._skips_told, self._skips_told_ns = self._skips, now
            words = f"GradScaler skipped a step after step {self._clock.step} ({self._skips} so far): not finite"
            self._link.send(wire.event("skipped", words, step=self._clock.step, skipped=self._skips))
