"""Waits for the program's own `import torch`, lets it finish, then starts the probe.

A process that never imports torch pays for two finders on `sys.meta_path`, the second asked only for what nobody
else has. A scenario is ours: it also connects at once, so that the screen can say what it waits for and the scenario
ends when its monitor does.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # `typing` itself would cost every Python of the tree milliseconds; so would `importlib.abc`
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

OWNED = "MEMTOP_OWNED"
"""Set for a scenario: the target ends with its monitor."""

_early: Any = None
"""A scenario's connection, made before torch is there."""


def install(path: str) -> None:
    """Wait for torch, or start where it is there: a fork of a process that has it.

    `path` is the monitor's Unix socket. Raises nothing that the caller does not catch.
    """
    global _early
    if os.environ.get(OWNED):
        from . import transport, wire

        _early = transport.Transport(path, owned=True)
        if not _early.connect():
            return
        _early.send(wire.hello(None))
    if "torch" in sys.modules:
        _start(path)
        return
    sys.meta_path.insert(0, _Waiter(path))
    sys.meta_path.append(_Lender())


def wait_for_torch(early: Any) -> None:
    """Start the probe on the connection `early`, at once where torch is there."""
    global _early
    _early = early
    if "torch" in sys.modules:
        _start("")
    else:
        sys.meta_path.insert(0, _Waiter(""))


class _Waiter:
    """Steps aside for every import but the first of torch."""

    def __init__(self, path: str) -> None:
        self._path = path

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """torch's own spec, its loader wrapped; `None` for everything else."""
        if name != "torch":
            return None
        import importlib.util

        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            sys.meta_path.insert(0, self)
            return None
        spec.loader = _Loader(spec.loader, self._path)  # type: ignore[assignment]  # by its methods alone
        return spec


class _Lender:
    """For `import memtop` in a program whose own Python has none: the one that watches lends itself for the marks."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Our own package, last of all; `None` for everything else."""
        if name != "memtop":
            return None
        from importlib.util import spec_from_file_location

        folder = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
        return spec_from_file_location(name, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder])


class _Loader:
    """Runs torch's own loader, and the probe after it. Leaves torch's spec as it would have been."""

    def __init__(self, inner: Any, path: str) -> None:
        self._inner = inner
        self._path = path

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._inner.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._inner
        module.__loader__ = self._inner
        self._inner.exec_module(module)
        _start(self._path)


def _start(path: str) -> None:
    """Start the probe; torch is imported. A failure of ours is ours alone."""
    try:
        from . import runtime

        runtime.start(path, _early)
    except Exception:
        if os.environ.get("MEMTOP_DEBUG"):
            raise
