"""Parameters that are shared out over ranks: FSDP2's `fully_shard`.

Between uses a module holds its shard, a DTensor: its local bytes are `parameters`. For a layer's forward and backward
FSDP gathers the whole parameter into a buffer of its own and puts that on the module in the shard's place. Those
buffers are `temporaries`, however long they stay (a root keeps them from forward to backward), even where the graph
saves them: `parameters` and `activations` mean the same with and without sharding. Gradients of a whole parameter that
are kept because this backward is not to be reduced (accumulation) are `gradients`, as the reduced shards are.

FSDP's own bookkeeping is private to torch. Where it is not found, what a module holds at that moment is counted as its
parameters.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

_sharding: dict[type, bool] = {}


class Sharded:
    """What the modules of a process have sharded, now."""

    def __init__(self, modules: Iterable[Any]) -> None:
        self.shards: dict[int, Any] = {}
        """The shard by the `id` of the whole parameter that may stand in its place."""
        self.whole: list[Any] = []
        """The buffers of whole parameters; an empty storage where one is let go at present."""
        self.gradients: list[Any] = []
        """Whole gradients that are kept."""
        if "torch.distributed.fsdp" in sys.modules:
            for module in modules:
                if _shards(type(module)):
                    self._read(module)

    def _read(self, module: Any) -> None:
        try:
            state = module._get_fsdp_state()
            groups = getattr(state, "_fsdp_param_groups", None)
            for group in [state._fsdp_param_group] if groups is None else groups:
                for one in group.fsdp_params if group is not None else ():
                    self._note(one)
        except (AttributeError, TypeError, ValueError):
            return

    def _note(self, one: Any) -> None:
        whole = getattr(one, "_unsharded_param", None)
        self.whole += one.all_gather_outputs
        if whole is not None:
            self.whole.append(whole)
            self.shards[id(whole)] = one.sharded_param
        kept = getattr(one, "unsharded_accumulated_grad", None), None if whole is None else whole.grad
        self.gradients += [grad for grad in kept if grad is not None]


def _shards(kind: type) -> bool:
    """Whether `fully_shard` was called on a module: it mixes a class of its own in."""
    found = _sharding.get(kind)
    if found is None:
        found = _sharding[kind] = any(base.__name__ == "FSDPModule" for base in kind.__mro__)
    return found
