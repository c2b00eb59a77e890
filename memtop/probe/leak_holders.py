"""Who holds leaked tensors: a search of the process's objects, from the tensors upwards, to what holds several of them.

Each level of the search asks the interpreter once who refers to what the level below has found (about 35 ms each on a
heap of 170,000 objects). Nothing is kept when it returns, and no code of the person's runs. Frames are not asked for
their variables: reading them would keep those alive.
"""

from __future__ import annotations

import functools
import gc
import sys
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable
from pathlib import Path
from types import CellType, FrameType, FunctionType, ModuleType, TracebackType
from typing import Any, NamedTuple

import torch

from .storages import storages

_ASKED = 4
"""Tensors whose holder is looked for. What holds as many of them, each made in another step, holds them all."""
_LEVELS = 5
_WIDEST = 12
"""Objects asked about at once: each makes a search longer."""
_DOWN = 50_000
"""Objects that are looked at on one level below a container."""
_ROOTS = (type, ModuleType, FunctionType, torch.Tensor, torch.nn.Module)
"""What leads to half of the process."""
_HERE = str(Path(__file__).resolve().parent)
_CONTAINERS = frozenset({list, dict, set, tuple, deque, OrderedDict, defaultdict})
_CACHED = type(functools.lru_cache(_HERE.title))


class Holder(NamedTuple):
    """What holds the tensors of one line."""

    held: bool
    """Anything of Python's refers to them; else autograd's graph alone does."""
    graph: bool
    """They have a graph."""
    name: str | None
    """`list losses`, `list Meter.values`, `a list`; `None` where nothing was found that holds them all."""
    key: int
    """The holder's `id`, 0 for none: lines with the same one have one cause."""
    bounded: bool
    """It can't grow without end: a deque with a length, a cache with a size, a list made as long as it will be."""


_NOBODY = Holder(False, False, None, 0, False)


def alive() -> list[Any]:
    """The tensors that Python knows of. An instance refers to its class: to ask who refers to `Tensor` costs half of
    what looking at all objects does, and nothing else is touched."""
    found = [one for one in gc.get_referrers(torch.Tensor, torch.nn.Parameter) if issubclass(type(one), torch.Tensor)]
    return found or [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor)]


def holders(wanted: dict[Any, list[list[int]]]) -> dict[Any, Holder]:
    """The holder by label. `wanted`: for each label keys of storages by the step that made them, best ones first."""
    labels: dict[int, Any] = {key: label for label, steps in wanted.items() for keys in steps for key in keys}
    tensors: dict[int, Any] = {}
    graph: set[Any] = set()
    with torch._C.DisableTorchFunction():
        for one in alive():
            for storage in storages(one):
                label = labels.get(storage._cdata)
                if label is not None:
                    tensors.setdefault(storage._cdata, one)
                    if node_of(one):
                        graph.add(label)
    one, found = None, {}
    containers: list[tuple[Any, Holder]] = []
    for label, steps in wanted.items():
        firsts = [next((key for key in keys if key in tensors), None) for keys in steps]
        asked = [tensors.pop(key) for key in firsts[::-1] if key is not None][:_ASKED]
        for key in (key for keys in steps for key in keys):
            tensors.pop(key, None)
        known = next((holder for container, holder in containers if _holds(container, asked)), None)
        if known is None:
            container, known = _holder(asked)
            containers += [] if container is None else [(container, known)]
        found[label] = known._replace(graph=label in graph)
    return found


def node_of(tensor: Any) -> str:
    """The name of a tensor's `grad_fn`; empty for none, and for one that can't be had: of a view that was cut off by a
    change in place."""
    try:
        node = tensor.grad_fn
    except RuntimeError:
        return ""
    return "" if node is None else str(node.name())


def _holder(asked: list[Any]) -> tuple[Any, Holder]:
    """What holds these tensors, and what is told of it."""
    if not asked:
        return None, _NOBODY
    held, container, thrown = _common(asked)
    if container is None:
        return None, Holder(held, False, None, 0, False)
    kind = "lru_cache" if type(container) is _CACHED else type(container).__name__
    name = getattr(container, "__name__", None) if type(container) is _CACHED else _name_of(container)
    text = f"a {kind}" if not isinstance(name, str) else f"{kind} {name}"
    text += " of exceptions" if thrown else ""
    return container, Holder(held, False, text, id(container), _is_bounded(container))


def _holds(container: Any, asked: list[Any]) -> bool:
    """Whether a container that is known already holds these tensors, too: looking down from it costs much less than
    searching upwards."""
    level, wanted = [container], {id(one) for one in asked}
    for _ in range(_LEVELS):
        level = gc.get_referents(*level)[:_DOWN]
        wanted.difference_update(map(id, level))
        if not wanted:
            return bool(asked)
        level = [one for one in level if gc.is_tracked(one) and not issubclass(type(one), _ROOTS)]
    return False


def _common(asked: list[Any]) -> tuple[bool, Any, bool]:
    """Whether anything of Python's holds these tensors; what holds several of them, directly or through others; whether
    exceptions hold them."""
    level, reach = list(asked), {id(one): {number} for number, one in enumerate(asked)}
    seen, held, thrown = {id(asked), id(level), id(reach)}, False, False
    enough = max(2, min(len(asked), _ASKED))
    for _ in range(_LEVELS):
        above: list[Any] = []
        reached: dict[int, set[int]] = {}
        for one in gc.get_referrers(*level):
            if id(one) in seen or one is level or _is_ours(one):
                continue
            seen.add(id(one))
            held = True
            thrown = thrown or type(one) is TracebackType
            above.append(one)
            reached[id(one)] = set().union(*(reach.get(id(below), ()) for below in gc.get_referents(one)))
        full = [one for one in above if len(reached[id(one)]) >= enough and type(one) not in (FrameType, ModuleType)]
        if full:
            return held, max(full, key=_size), thrown
        if not above or len(above) > _WIDEST:
            break
        level, reach = above, reached
        seen |= {id(above), id(reached), id(full)}
    return held, None, thrown


def _is_ours(one: Any) -> bool:
    if type(one) is FrameType:
        return one.f_code.co_filename.startswith(_HERE)
    return one is sys.modules or type(one).__module__.startswith(__name__.rpartition(".")[0] or __name__)


def _size(container: Any) -> int:
    return len(container) if type(container) in _CONTAINERS else 0


def _is_bounded(container: Any) -> bool:
    if type(container) is deque:
        return container.maxlen is not None
    if type(container) is _CACHED:
        return container.cache_parameters()["maxsize"] is not None
    return type(container) is list and len(container) > 0 and container[-1] is None


def _name_of(container: Any) -> str | None:
    """The name of a module's variable, of a closure's or of an object's attribute that holds a container."""
    for one in gc.get_referrers(container):
        if type(one) is CellType:
            name = _free_name(one)
            if name is not None:
                return name
        names = one if type(one) is dict else _attributes(one)
        found = [name for name, value in list(names.items()) if value is container and type(name) is str]
        if not found:
            continue
        if "__name__" in names and "__builtins__" in names:
            return found[0]
        owner = one
        if type(one) is dict:
            owner = next((other for other in gc.get_referrers(one) if _attributes(other) is one), None)
        return found[0] if owner is None else f"{type(owner).__name__}.{found[0]}"
    return None


def _free_name(cell: Any) -> str | None:
    """The name that a function has for a cell of its closure."""
    functions = (
        function
        for closure in gc.get_referrers(cell)
        if type(closure) is tuple
        for function in gc.get_referrers(closure)
        if type(function) is FunctionType and function.__closure__ is closure
    )
    for function in functions:
        names: Iterable[str] = function.__code__.co_freevars
        for name, one in zip(names, function.__closure__ or (), strict=True):
            if one is cell:
                return name
    return None


def _attributes(owner: Any) -> dict[str, Any]:
    """An object's own dictionary, asked without running code of the person's; empty for what has none."""
    if issubclass(type(owner), (FrameType, ModuleType, FunctionType, list, tuple, type)):
        return {}
    try:
        names = object.__getattribute__(owner, "__dict__")
    except (AttributeError, TypeError):
        return {}
    return names if type(names) is dict else {}
