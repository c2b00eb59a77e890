"""What an operator may do to storages, read off its schema once."""

from __future__ import annotations

from typing import Any

import torch
from torch._ops import OpOverload

from .syncs import WAITING

NONE, NEW, ANY, SIZE, SHAPE, SYNC = range(6)
"""What an operator may do: nothing new; one new tensor; anything; change a storage's size; nothing new, but its result
says the shape of what a module made. `SYNC` is added for one that may make the CPU wait for a device."""
known: dict[Any, int] = {}
"""By operator; below 0 for what is no ordinary operator."""
_SHAPING = frozenset({"aten::view", "aten::_unsafe_view", "aten::permute", "aten::_reshape_alias", "aten::unflatten"})
_RESIZING = frozenset({"aten::resize_", "aten::resize_as_", "aten::set_", "aten::_resize_output_"})
_plain = {torch.Tensor: True, torch.nn.Parameter: True}
_disabled = torch._C._disabled_torch_dispatch_impl


def all_plain(types: Any) -> bool:
    """Whether none of an operator's tensors has a dispatch of its own."""
    return all(_plain.get(kind) or _is_plain(kind) for kind in types)


def _is_plain(kind: Any) -> bool:
    plain = _plain[kind] = getattr(kind, "__torch_dispatch__", _disabled) is _disabled
    return plain


def kind_of(func: Any) -> int:
    """What an operator may do, read off its schema once."""
    if not isinstance(func, OpOverload):
        known[func] = -1
    else:
        known[func] = _by_schema(func._schema) + (SYNC if func._schema.name in WAITING else 0)
    return known[func]


def _by_schema(schema: Any) -> int:
    returned = [one for one in schema.returns if "Tensor" in str(one.type)]
    if schema.name in _RESIZING or any(one.is_out for one in schema.arguments):
        return SIZE
    if not returned:
        return NONE
    if all(one.alias_info is not None for one in returned):
        written = any(one.alias_info.is_write for one in returned)
        return SHAPE if written or schema.name in _SHAPING else NONE
    return NEW if len(schema.returns) == 1 and str(returned[0].type) == "Tensor" else ANY
