"""Takes a deep look at one training step in this process, with the probe's own parts and no monitor."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from memtop.probe import steps
from memtop.probe.deep import DeepStep
from memtop.probe.inputs import Inputs
from memtop.probe.tracker import Tracker

Record = dict[str, Any]


@dataclass
class Seen:
    """The records of one look at the CPU."""

    records: list[Record]

    def at(self, moment: str) -> dict[str, int]:
        """Bytes by category at a moment."""
        found: dict[str, int] = self.memory(moment)["bytes"]
        return found

    def memory(self, moment: str) -> Record:
        (record,) = [r for r in self.records if r["kind"] == "memory" and r["moment"] == moment]
        return record

    def one(self, kind: str) -> Record:
        (record,) = [r for r in self.records if r["kind"] == kind]
        return record

    def row(self, path: str | None) -> Record:
        """A module's row."""
        (row,) = [row for row in self.one("modules")["rows"] if row["path"] == path]
        found: Record = row
        return found

    @property
    def peak(self) -> int:
        return sum(self.at("peak").values())


class Driver:
    """Stands where the runtime stands: tells a look of the moments of one step."""

    def __init__(self, *optimizers: Any, modules: list[Any]) -> None:
        self.inputs = Inputs()
        self.tracker = Tracker(self.inputs)
        self.tracker.know(modules)
        self._optimizers = optimizers
        self._look: DeepStep | None = None
        self.found: Any = None
        """What the last look has found."""
        self._first = True
        self._stepped = False
        for optimizer in optimizers:
            self.tracker.saw(optimizer)

    def look(self, step: Callable[[], Any]) -> Seen:
        """Run one step under a deep look."""
        original = torch.autograd.backward
        handles = [one.register_step_pre_hook(self._pre) for one in self._optimizers]
        handles += [one.register_step_post_hook(self._post) for one in self._optimizers]
        torch.autograd.backward = steps._wrapped(original, self._backward, self._ended)
        self._first, self._stepped = True, False
        look = self._look = DeepStep(self.tracker, self.inputs, 2, (steps.EDGE,))
        try:
            kept = step()
            assert look.broken is None, look.broken
            look.step_ended()
            records = look.records()
            self.found = look.found
            del kept
        finally:
            look.leave()
            torch.autograd.backward = original
            self._look = None
            for handle in handles:
                handle.remove()
        return Seen(records)

    def took(self, batch: Any) -> Any:
        """As if a loader had yielded this batch."""
        if self._look is not None:
            self._look.loaded(batch)
        return batch

    def _backward(self, roots: Any) -> None:
        found = [one for one in (roots if isinstance(roots, (list, tuple)) else [roots]) if one.grad_fn is not None]
        assert self._look is not None
        self._look.backward_begins(found, sys._getframe(1), self._first)
        self._first = False

    def _ended(self) -> None:
        assert self._look is not None
        self._look.backward_ended()

    def _pre(self, *_: Any) -> None:
        assert self._look is not None
        self._look.optimizer_begins(sys._getframe(1), not self._stepped)
        self._stepped = True

    def _post(self, *_: Any) -> None:
        assert self._look is not None
        self._look.optimizer_ended()


def modules_of(*roots: Any) -> list[Any]:
    """All modules of these roots, each once."""
    return list({id(one): one for root in roots for one in root.modules()}.values())
