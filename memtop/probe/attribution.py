"""What the storages of a deep look are: the rules, and their order of precedence.

A storage is counted once and whole, whatever views stand on it, and has one category for as long as it lives: that of
the first rule below that holds for it at any moment of the step. (A gradient is one from the operator on whose result
becomes `.grad`, not from the moment autograd hands it over.)

1. `parameters`: a parameter of a live module, or in an optimizer's groups (so those in a plain list count once they
   have stepped). Frozen ones too. Tied ones once, for the module that comes first.
2. `buffers`: a registered buffer of a live module, persistent or not.
3. `gradients`: `.grad` of those parameters at a moment of the step: just made, accumulated over several backwards, or
   kept by `set_to_none=False`. A sparse one is its indices and its values. So is what the accumulation of a gradient
   writes into and nothing else claims, or what forward made for that: the buckets of a distributed run (looked for
   only where one is initialised). A deep look finds them; from then on the other tier counts them, too.
4. `optimizer_state`: tensors in `optimizer.state`, master weights that only the optimizer holds included. What the
   optimizer's step needs for a moment (foreach's intermediate lists) is `temporaries`.
5. `inputs`: what a loader yielded, labels included, and what comes of it alone, outside of any module: copies on a
   device, a batch normalised or augmented by hand. Where no loader yielded anything: what forward read that was there
   before the step and takes no gradient, or that was made in the step outside of any module and of no tensor
   (`torch.randn`, `torch.tensor`).
6. `activations`: made in forward and alive when a backward begins, whether saved for backward or only referenced (the
   loss, logits that the script holds; a `detach()` is a view and shares the storage); older ones that the graph still
   holds; and what a checkpoint made again and backward then used, told apart as recomputed. Autocast's copies of the
   weights are kept for backward and belong here: they are no parameters, and go when the graph goes.
7. `temporaries`: everything else made in this step: gradients of activations, results that forward did not keep,
   workspaces. And the whole parameters that a sharded layer gathers for its use, saved for backward or not.
8. `other_tensors`: was there before the step, was read in it, and none of the above.

On CUDA the allocator's own record shows blocks that no storage has: scratch that is given back within the step is
`temporaries`, a block of before or one that stays (cuBLAS keeps a workspace) is `other_tensors`.

In-place operators and views make no storage. One that is resized counts with its new size from the moment that shows
it. Tensors of before the step that it does not touch, and that no module, optimizer or batch has, are not seen: on
the CPU they are part of `runtime`, on CUDA of `other_tensors`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from . import graph, tracker
from .births import FORWARD, HELD
from .inputs import Inputs
from .look import Look
from .sharded import Sharded
from .storages import Held, pieces, storages, tensors
from .tracker import Tracker

CATEGORIES = (*tracker.CATEGORIES, "temporaries", "other_tensors")
"""In the order of precedence: a rank is an index into it."""
PARAMETERS, BUFFERS, GRADIENTS, STATE, INPUTS, ACTIVATIONS, TEMPORARIES, OTHER = range(8)

Claim = tuple[int, Any, int]
"""Rank, tensor, and the `id` of the module it belongs to (0 for none)."""


class Attribution:
    """Ranks the births of one look. Call it at the step's start and at each of its moments."""

    def __init__(self, look: Look, tracker: Tracker, inputs: Inputs) -> None:
        self._look = look
        self._tracker = tracker
        self._inputs = inputs
        self.ranks: dict[int, int] = {}
        self.owners: dict[int, int] = {}
        """`id` of the module whose parameter (buffer, gradient, state) a birth is."""
        self._owner: dict[int, int] = {}
        """`id` of the module by `id` of the parameter: no tensor is kept."""
        self._whole: set[int] = set()
        """Buffers of whole parameters that are sharded."""

    def begin(self) -> None:
        """The step begins: what is held now was there before. The last step's batch may still be."""
        self._claim(HELD, self._parameters(), self._gradients(), self._state())
        self._gather(HELD)
        for held in self._inputs.held:
            storage = torch.UntypedStorage._new_with_weak_ptr(held.ref.cdata) if held.alive else None
            if storage is not None:
                self._look.batch.add(self._look.adopt(storage, None, alike=held))

    def hold(self, made: list[Any]) -> None:
        """Results of the last step, where steps are forward passes."""
        for one in made:
            for storage in storages(one):
                self._rank(self._look.adopt(storage, one), ACTIVATIONS, 0)

    def backward_ended(self) -> None:
        """The first optimizer begins: gradients are complete."""
        self._claim(self._look.phase, self._gradients())
        self._gather(self._look.phase)

    def step_ended(self) -> None:
        """The step has ended. Optimizers that were seen for the first time in it have brought parameters."""
        self._claim(self._look.phase, self._parameters(), self._gradients(), self._state())

    def forward_ended(self, roots: list[Any], first: bool = True) -> None:
        """A backward begins at `roots`, the `first` of the step or a later one."""
        look, ranks = self._look, self.ranks
        # What layers made in their first forward, and gradients of an earlier backward.
        self._claim(look.phase, self._parameters(), self._gradients())
        self._gather(look.phase)
        for one in graph.saved(roots, self._tracker.notes):
            # The number in `loss / 8` becomes a tensor where no operator is seen: a later piece's is of that piece.
            fresh = not first and not one.dim() and one.device.type == "cpu"
            for storage in storages(one):
                self._rank(look.adopt(storage, one, FORWARD if fresh else HELD), ACTIVATIONS, 0)
        for number in look.alive():
            if number not in ranks and look.phase_of(number) == FORWARD:
                ranks[number] = ACTIVATIONS

    def finish(self) -> list[int]:
        """The step is over: the rank of each birth."""
        look = self._look
        look.used_again()
        for number in look.batch:
            self._rank(number, INPUTS, 0)
        for number in look.written:
            self._rank(number, GRADIENTS, 0)
        buckets = (look.refs[number]() for number in look.written if self.ranks[number] == GRADIENTS)
        self._tracker.buckets += [Held(storage) for storage in buckets if storage is not None]
        for number in look.recomputed:
            self._rank(number, ACTIVATIONS, 0)
        if not look.fed:
            for number in look.entered:
                self._rank(number, INPUTS, 0)
        for number, trains in look.read.items():
            self._rank(number, OTHER if look.fed or trains else INPUTS, 0)
        gathered = [number for number in self._whole if self.ranks.get(number) != PARAMETERS]
        self.ranks.update(dict.fromkeys(gathered, TEMPORARIES))
        return [self.ranks.get(number, TEMPORARIES) for number in range(len(look.births))]

    def _rank(self, number: int, rank: int, owner: int) -> None:
        before = self.ranks.get(number)
        if before is None or rank < before:
            self.ranks[number] = rank
            if owner:
                self.owners[number] = owner

    def _gather(self, phase: int) -> None:
        """The buffers of parameters that are sharded, while they are whole and while they are let go."""
        for whole in Sharded(self._tracker.modules()).whole:
            for piece in pieces(whole):
                self._whole.update(self._look.adopt(storage, piece, phase) for storage in storages(piece))

    def _claim(self, phase: int, *sources: Iterator[Claim]) -> None:
        look, ranks = self._look, self.ranks
        live, refs = look.live, look.refs
        for source in sources:
            for rank, tensor, owner in source:
                for piece in pieces(tensor):
                    for storage in storages(piece):
                        number = live.get(storage._cdata)
                        # The same as at the last moment, nearly always.
                        if number is None or ranks.get(number) != rank or refs[number]() is None:
                            self._rank(look.adopt(storage, piece, phase), rank, owner)

    def _parameters(self) -> Iterator[Claim]:
        """Parameters and buffers; the first module that has a parameter is its owner."""
        self._owner = {}
        for owner, one in self._tracker.owned_parameters():
            if id(one) not in self._owner:
                self._owner[id(one)] = owner
                yield PARAMETERS, one, owner
        for owner, one in self._tracker.owned_buffers():
            yield BUFFERS, one, owner

    def _gradients(self) -> Iterator[Claim]:
        for one in self._tracker.parameters():
            if one.is_leaf and (grad := one.grad) is not None:
                yield GRADIENTS, grad, self._owner.get(id(one), 0)
        for grad in Sharded(self._tracker.modules()).gradients:
            yield GRADIENTS, grad, 0

    def _state(self) -> Iterator[Claim]:
        for optimizer in self._tracker.optimizers():
            for one, state in list(dict(optimizer.state).items()):
                owner = self._owner.get(id(one), 0)
                for tensor in tensors(state):
                    yield STATE, tensor, owner
