"""Which storage is which category, at the moments of a step, by what is known without watching a single operator.

Precedence: parameters, buffers, gradients, optimizer_state, inputs, activations. A storage counts once, for the first
that claims it: tied weights, views and non-contiguous tensors fall together because they share a storage.
Nothing here keeps a person's tensor alive, and nothing is put on a person's object.
"""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from . import graph, stepping
from .inputs import Inputs
from .sharded import Sharded
from .storages import Held, Ledger, solid, storages, tensors

CATEGORIES = ("parameters", "buffers", "gradients", "optimizer_state", "inputs", "activations")
"""What this tier can tell. `temporaries` and `other_tensors` need a deep look."""


class Tracker:
    """The modules, optimizers and batches of this process, by weak reference."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self._modules: list[weakref.ref[Any]] = []
        self._optimizers: list[weakref.ref[Any]] = []
        self._activations: list[Held] = []
        self._copies: list[Held] = []
        self._leaves: list[weakref.ref[Any]] = []
        self.buckets: list[Held] = []
        """What deep looks found gradients to be reduced in: nothing in Python knows of a bucket."""
        self.notes: set[str] = set()
        self.steppers = stepping.Found([], [])
        """The optimizers that the newest search has found, stepped or not."""
        self.scans = 0
        """How often the objects of the process were searched for modules (35 to 90 ms each)."""
        self.scan_ns = 0
        """Processor time of the newest such search, nanoseconds."""

    def saw(self, optimizer: Any) -> bool:
        """An optimizer steps. True if it is new to us."""
        if any(known() is optimizer for known in self._optimizers):
            return False
        self._optimizers = [known for known in self._optimizers if known() is not None]
        self._optimizers.append(weakref.ref(optimizer))
        return True

    def scan(self) -> None:
        """Find every module of the process. Asks `type(o)`, never `o.__class__`: a proxy could run code for that."""
        began, module = time.thread_time_ns(), torch.nn.Module
        alive = gc.get_objects()
        self.know([one for one in alive if issubclass(type(one), module)])
        self.steppers = stepping.found(alive)
        self.scans += 1
        self.scan_ns = time.thread_time_ns() - began

    def know(self, modules: list[Any]) -> None:
        """These are the modules of the process."""
        self._modules = [weakref.ref(one) for one in modules]

    def trains(self, leaves: list[Any]) -> None:
        """What the running step trains, in a program without optimizers: parameters, whatever holds them. Known until
        `forget()` alone, for a weak reference to a tensor hinders `torch.utils.swap_tensors`."""
        self._leaves = [weakref.ref(one) for one in leaves]

    @property
    def blind(self) -> bool:
        """Whether every module we knew is gone (or none was ever found)."""
        return not any(known() is not None for known in self._modules)

    def modules(self) -> list[Any]:
        """The modules that live now."""
        return [one for known in self._modules if (one := known()) is not None]

    def optimizers(self) -> list[Any]:
        """The optimizers that have stepped and live now, first seen first."""
        return [one for known in self._optimizers if (one := known()) is not None]

    def owned_parameters(self) -> Iterator[tuple[int, Any]]:
        """Parameters of modules with the `id` of the module, then those of optimizers with 0; some more than once."""
        modules = self.modules()
        shards = Sharded(modules).shards
        for module in modules:
            for one in module._parameters.values():
                # A lazy layer's parameters have no storage until its first forward.
                if one is not None and not is_lazy(one):
                    yield id(module), solid(shards.get(id(one), one))
        for optimizer in self.optimizers():
            for group in optimizer.param_groups:
                for one in group["params"]:
                    yield 0, one
        for known in self._leaves:
            if (leaf := known()) is not None:
                yield 0, leaf

    def owned_buffers(self) -> Iterator[tuple[int, Any]]:
        """Registered buffers with the `id` of their module."""
        for module in self.modules():
            for one in module._buffers.values():
                if one is not None and not is_lazy(one):
                    yield id(module), solid(one)

    def parameters(self) -> Iterator[Any]:
        """Parameters of modules, then of optimizers; some of them more than once."""
        return (one for _, one in self.owned_parameters())

    def buffers(self) -> Iterator[Any]:
        """Registered buffers of modules."""
        return (one for _, one in self.owned_buffers())

    def forward_ended(self, roots: list[Any]) -> Ledger:
        """Bytes when backward begins at `roots`; remembers the activations to see them go."""
        ledger = self.held()
        self._activations, self._copies = [], []
        for one in [*graph.saved(roots, self.notes), *roots]:
            for storage in storages(one):
                if storage._cdata not in ledger.seen:
                    fed = self._inputs.is_copy(one) or self._inputs.looks_fed(one)
                    kept = self._copies if fed else self._activations
                    kept.append(Held(storage))
        ledger.claim_held("inputs", self._copies)
        ledger.claim_held("activations", self._activations)
        return ledger

    def later(self) -> Ledger:
        """Bytes at a later moment of the same step: of the activations, those still alive."""
        ledger = self.held()
        ledger.claim_held("inputs", self._copies)
        ledger.claim_held("activations", self._activations)
        return ledger

    def forget(self) -> None:
        """The watched step is over."""
        self._activations, self._copies, self._leaves = [], [], []

    def held(self) -> Ledger:
        """What is held beside the graph: the first five categories."""
        ledger, sharded = Ledger(), Sharded(self.modules())
        parameters = list(self.parameters())
        ledger.claim("parameters", parameters)
        ledger.claim("buffers", self.buffers())
        ledger.claim("gradients", (one.grad for one in parameters if one.is_leaf and one.grad is not None))
        ledger.claim("gradients", sharded.gradients)
        ledger.claim_held("gradients", self.buckets)
        for optimizer in self.optimizers():
            ledger.claim("optimizer_state", tensors(dict(optimizer.state)))
        ledger.claim_held("inputs", self._inputs.held)
        ledger.leave_out(sharded.whole)
        return ledger
