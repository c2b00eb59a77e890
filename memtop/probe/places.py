"""Where an operator runs: the person's source line and the module, read off the Python frames above it.

Nothing is hooked: a module's call goes through torch's own wrapper, whose frame has the module as `self`. That frame
never rebinds its locals, so reading them keeps nothing alive for longer than the call itself does.
"""

from __future__ import annotations

import linecache
import os
import sys
import sysconfig
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import torch
from torch.utils import checkpoint

_OTHERS, _MINE, _CALL, _EDGE, _AGAIN = range(5)
"""Code of libraries; the person's; a module's call; where autograd or an optimizer takes over; a checkpoint's."""

_CALLS = torch.nn.Module._wrapped_call_impl.__code__
_HERE = Path(__file__).resolve().parent


def _folders() -> tuple[str, ...]:
    """Where libraries live, each with a separator at its end."""
    paths = sysconfig.get_paths()
    found = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib") if paths.get(name)}
    found |= {str(Path(torch.__file__).parent.parent), str(_HERE), str(_HERE.parent / "tracking.py")}
    return tuple(folder if folder.endswith(".py") else folder + os.sep for folder in sorted(found))


_LIBRARIES = _folders()


def _own_folder() -> str:
    """The folder of the program's main script: the person's code wherever it is installed. Empty for none."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    if not isinstance(path, str):
        return ""
    folder = str(Path(path).absolute().parent) + os.sep
    return "" if any(library.startswith(folder) for library in _LIBRARIES) else folder


Place = tuple[str, int, str]
"""File, line and function."""


class Places:
    """Source lines met in one look, each with a number, and the modules by `id`."""

    def __init__(self) -> None:
        self.known: list[Place] = []
        self._numbers: dict[tuple[int, int], int] = {}
        self._kinds: dict[int, int] = {id(_CALLS): _CALL}
        self._codes: list[CodeType] = [_CALLS]
        self._own = _own_folder()
        self.edge = -1
        """The person's line that called backward or the optimizer; -1 where none is running."""

    def edges(self, *codes: CodeType) -> None:
        """Frames of this code have nothing to tell above them: a walk ends there."""
        for code in codes:
            self._keep(code, _EDGE)

    def _keep(self, code: CodeType, kind: int) -> int:
        self._kinds[id(code)] = kind
        self._codes.append(code)  # While it lives, nothing else has its `id`.
        return kind

    def _kind(self, code: CodeType) -> int:
        """What a piece of code is, told by its file."""
        name = code.co_filename
        if name == checkpoint.__file__:
            return self._keep(code, _AGAIN)
        own = bool(self._own) and name.startswith(self._own)
        theirs = not own and name.startswith(("<frozen", "<string", "<eval_with_key>", *_LIBRARIES))
        return self._keep(code, _OTHERS if theirs else _MINE)

    def find(self, frame: FrameType | None) -> tuple[int, int, bool]:
        """The person's line (a number, -1 for none), the innermost module (its `id`, 0 for none), and whether a
        checkpoint stands between the operator and the edge."""
        line, module, again = -1, 0, False
        kinds = self._kinds
        while frame is not None:
            code = frame.f_code
            kind = kinds.get(id(code))
            if kind is None:
                kind = self._kind(code)
            if kind == _CALL:
                if not module:
                    module = id(frame.f_locals["self"])
                if line >= 0 and not again and self.edge < 0:
                    break
            elif kind == _MINE:
                if line < 0:
                    line = self._number(frame)
                if module and self.edge < 0:
                    break
            elif kind == _EDGE:
                return (line if line >= 0 else self.edge), module, again
            elif kind == _AGAIN:
                again = True
            frame = frame.f_back
        return (line if line >= 0 else self.edge), module, again

    def line(self, frame: FrameType | None) -> int:
        """The number of the first line of the person's, from `frame` up; -1 for none."""
        while frame is not None:
            code = frame.f_code
            kind = self._kinds.get(id(code))
            if (self._kind(code) if kind is None else kind) == _MINE:
                return self._number(frame)
            frame = frame.f_back
        return -1

    def is_mine(self, code: CodeType) -> bool:
        """Whether a piece of code is the person's."""
        kind = self._kinds.get(id(code))
        return (self._kind(code) if kind is None else kind) == _MINE

    def is_call(self, code: CodeType) -> bool:
        """Whether it is torch's wrapper around a module's call, whose `self` is the module."""
        return code is _CALLS

    def _number(self, frame: FrameType) -> int:
        key = (id(frame.f_code), frame.f_lasti)
        number = self._numbers.get(key)
        if number is None:
            code = frame.f_code
            place = (code.co_filename, frame.f_lineno or code.co_firstlineno, code.co_name)
            number = self._numbers[key] = self._at(place)
        return number

    def _at(self, place: Place) -> int:
        if place not in self.known:
            self.known.append(place)
        return self.known.index(place)


def text_of(place: Place) -> str | None:
    """The source line itself, stripped; `None` where the file can't be read."""
    return linecache.getline(place[0], place[1]).strip()[:200] or None


def module_names(modules: list[Any]) -> dict[int, tuple[str, Any]]:
    """Dotted path and module by `id`, parents first. Roots beside the one with parameters are called by their class."""
    children = {id(child) for one in modules for child in one._modules.values()}
    roots = [one for one in modules if id(one) not in children]
    weighty = [one for one in roots if next(one.parameters(), None) is not None]
    names: dict[int, tuple[str, Any]] = {}
    taken: dict[str, int] = {}
    for root in [*weighty, *(one for one in roots if not any(one is other for other in weighty))]:
        prefix = "" if [root] == weighty else _unique(type(root).__name__, taken)
        for path, module in root.named_modules():
            names.setdefault(id(module), (f"{prefix}.{path}" if prefix and path else prefix or path, module))
    return names


def _unique(name: str, taken: dict[str, int]) -> str:
    taken[name] = taken.get(name, 0) + 1
    return name if taken[name] == 1 else f"{name}#{taken[name]}"
