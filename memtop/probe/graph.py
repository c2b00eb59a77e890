"""What autograd keeps for backward: a walk over `grad_fn`.

It reads `_raw_saved_*.data`, which does not unpack: reading `_saved_*` would run a checkpointed forward again. About
2 µs a node. Where a hook packed a tensor (checkpoint, save_on_cpu), `.data` is what the hook made of it: tensors in it
count, and a checkpoint's boundary inputs are found in its frame, which the unpack hook's closure holds (private to
torch; where it is not found, they are not counted and the notes say so).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from .storages import tensors

_names: dict[type, tuple[str, ...]] = {}
"""The `_raw_saved_*` attributes by node type: `dir()` of each node would cost ten times the walk."""


def saved(roots: list[Any], notes: set[str]) -> Iterator[Any]:
    """The tensors that the graph behind `roots` keeps alive, in no order, some of them more than once."""
    seen: set[Any] = set()
    frames: set[int] = set()
    stack = [root.grad_fn for root in roots]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        stack.extend(following for following, _ in node.next_functions)
        for name in _attributes(node):
            value = getattr(node, name, None)
            for one in value if isinstance(value, (tuple, list)) else (value,):
                if one is not None:
                    yield from _content(one, frames, notes)


def leaves(roots: list[Any]) -> list[Any]:
    """The leaves that a backward from `roots` gives gradients to, each once."""
    seen: set[Any] = set()
    found: dict[int, Any] = {}
    stack = [root.grad_fn for root in roots]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        stack.extend(following for following, _ in node.next_functions)
        variable = getattr(node, "variable", None)
        if isinstance(variable, torch.Tensor):
            found[id(variable)] = variable
    return list(found.values())


def _attributes(node: Any) -> tuple[str, ...]:
    kind = type(node)
    names = _names.get(kind)
    if names is None:
        names = _names[kind] = tuple(name for name in dir(node) if name.startswith("_raw_saved_"))
    return names


def _content(one: Any, frames: set[int], notes: set[str]) -> Iterator[Any]:
    """The tensors behind one saved variable, without unpacking it."""
    try:
        data = one.data
    except (AttributeError, RuntimeError):
        # An older torch has no `.data`; a graph already freed has nothing left to read.
        notes.add("activations: this torch does not let saved tensors be read without unpacking")
        return
    hook = getattr(one, "unpack_hook", None)
    if hook is None:
        if data is not None:
            yield data
        return
    yield from tensors(data)
    for frame in _frames(hook):
        if id(frame) not in frames:
            frames.add(id(frame))
            yield from _boundary(frame, notes)


def _frames(hook: Any) -> Iterator[Any]:
    """The checkpoint frames that an unpack hook's closure holds."""
    for cell in getattr(hook, "__closure__", None) or ():
        content = cell.cell_contents
        if type(content).__name__ == "_CheckpointFrame":
            yield content


def _boundary(frame: Any, notes: set[str]) -> Iterator[Any]:
    """The inputs that a checkpoint keeps to compute its part again."""
    arguments = getattr(frame, "saved_args", None)
    if arguments is None:
        saver = getattr(getattr(frame, "input_saver", None), "grad_fn", None)
        arguments = getattr(saver, "_raw_saved_tensors", None)
    if arguments is None:
        notes.add("activations: the inputs that checkpoints keep can't be seen in this torch")
        return
    for argument in arguments:
        data = getattr(argument, "data", None)
        if data is not None:
            yield from tensors(data)
