"""What Dynamo does not see of us: it evaluates each frame that runs under a compiled function, ours among them."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any, TypeVar

import torch

Method = TypeVar("Method", bound=Callable[..., Any])


def exempt() -> None:
    """Mark all code of the probe as not to be compiled. Costs a millisecond, and imports nothing."""
    skip = _skipper()
    if skip is not None:
        for code in _codes():
            skip(code)


def on_compile(tell: Callable[[], None]) -> bool:
    """Have `tell()` called whenever Dynamo begins to compile something. False where it can't (yet): Dynamo is not
    imported, and we don't import it, for that takes seconds."""
    handler = getattr(sys.modules.get("torch._dynamo.callback"), "callback_handler", None)
    if handler is None:
        return False
    handler.register_start_callback(lambda *_: tell())
    return True


def blind(method: Method) -> Method:
    """A method of ours that Dynamo sees nothing of, whatever it calls: torch's own functions, say."""
    switch = torch._C._dynamo.eval_frame.set_eval_frame

    @functools.wraps(method)
    def memtop_blind(*args: Any) -> Any:
        before = switch(None)
        try:
            return method(*args)
        finally:
            switch(before)

    return memtop_blind  # type: ignore[return-value]


def _skipper() -> Any:
    """The function that exempts a code object, in this torch; `None` where there is none."""
    frames = torch._C._dynamo.eval_frame
    if hasattr(frames, "skip_code"):
        return frames.skip_code
    try:
        strategy = frames._FrameExecStrategy(frames._FrameAction.SKIP, frames._FrameAction.DEFAULT)
    except AttributeError:
        return None
    return lambda code: frames.set_code_exec_strategy(code, strategy)


def _codes() -> Iterator[CodeType]:
    package = __name__.rpartition(".")[0]
    for name, module in list(sys.modules.items()):
        if name.startswith(package + ".") and isinstance(module, ModuleType):
            for one in vars(module).values():
                if isinstance(one, (FunctionType, type)) and one.__module__ == name:
                    yield from _of(one)


def _of(one: Any) -> Iterator[CodeType]:
    if isinstance(one, type):
        for member in vars(one).values():
            if isinstance(member, property):
                yield from (code for part in (member.fget, member.fset) if part for code in _of(part))
            else:
                yield from _of(getattr(member, "__func__", member))
    elif isinstance(one, FunctionType):
        yield from _nested(one.__code__)


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)
