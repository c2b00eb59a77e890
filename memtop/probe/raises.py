"""Sees an exception when it is raised, whether or not the program catches it: Python 3.12 and newer.

`sys.monitoring`'s RAISE costs nothing while nothing is raised (it changes no bytecode), and about 0.7 µs for an
exception in each frame that it passes. It takes a tool id that nobody has; debuggers, coverage and profilers have
others. A program that raises all the time is left alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import CodeType
from typing import Any

import torch

_KINDS = (MemoryError, getattr(torch, "OutOfMemoryError", None) or torch.cuda.OutOfMemoryError)
_FREE = (4, 3)
"""Tool ids that Python gives to no kind of tool."""
_NAME = "memtop"
_MANY = 1000
"""Events after which the clock is asked."""
_CREDIT = 50_000
"""Events that are always let pass, 35 ms in all: the import of `torch._dynamo` alone has some thousands."""
_PACE = 1000
"""Events a second beyond those, on average, from which on watching ends: less than a thousandth of the time."""


class Raises:
    """Tells of each exception that some code raises or lets pass."""

    def __init__(self, tell: Callable[[BaseException], None]) -> None:
        """`tell` must raise nothing."""
        self._tell = tell
        self._tool: int | None = None
        self._count = 0
        self._since = 0

    @property
    def on(self) -> bool:
        """Whether exceptions are seen."""
        return self._tool is not None

    def watch(self) -> None:
        """Begin, where this Python can and an id is free."""
        monitoring: Any = getattr(sys, "monitoring", None)
        if monitoring is None or self.on:
            return
        for tool in _FREE:
            if monitoring.get_tool(tool) is None:
                monitoring.use_tool_id(tool, _NAME)
                monitoring.register_callback(tool, monitoring.events.RAISE, self._raised)
                monitoring.set_events(tool, monitoring.events.RAISE)
                self._tool, self._since = tool, time.monotonic_ns()
                return

    def remove(self) -> None:
        """End."""
        tool, self._tool = self._tool, None
        monitoring: Any = getattr(sys, "monitoring", None)
        if tool is None or monitoring.get_tool(tool) != _NAME:
            return
        monitoring.set_events(tool, 0)
        monitoring.register_callback(tool, monitoring.events.RAISE, None)
        monitoring.free_tool_id(tool)

    def _raised(self, code: CodeType, offset: int, error: BaseException) -> None:
        """Python calls no callback of ours while this one runs."""
        self._count += 1
        if self._count % _MANY == 0:
            allowed = _CREDIT + _PACE * (time.monotonic_ns() - self._since) / 1e9
            if self._count > allowed:
                self.remove()
        # A class of the person's own may have words that take its own code: those are not asked.
        if type(error) is RuntimeError or isinstance(error, _KINDS):
            self._tell(error)
