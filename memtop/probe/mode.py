"""The dispatch mode that stands around a step, and the word that it passes on to a look."""

from __future__ import annotations

import sys
import time
import weakref
from types import MethodType
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from . import operators
from .births import FORWARD, OPTIMIZER
from .operators import ANY, NEW, NONE, SHAPE, SYNC

if TYPE_CHECKING:
    from .look import Look


class Mode(TorchDispatchMode):
    """Hands what operators return to a `Look`, and returns it unchanged."""

    supports_higher_order_operators = True

    def __init__(self, look: Look) -> None:
        super().__init__()
        # torch asks for a bound method. Its circle with the mode ends in `Look.leave`.
        self.__torch_dispatch__ = MethodType(_handler(look), self)

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """An ordinary mode ends `torch.compile` for each function that runs under it once, for good (torch 2.13)."""
        return True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """torch would wrap `__torch_dispatch__`, at twice its cost. A mark on the handler says the same to Dynamo."""
        return False


def resizing(look: Look, resize: Any) -> Any:
    """`UntypedStorage.resize_`, which is no operator, with a word to the look: how FSDP lets its buffers go."""

    def memtop_resize(storage: Any, size: int) -> Any:
        result = resize(storage, size)
        try:
            number = look.number(storage)
            if number is not None:
                look.measure(number)
        except Exception as error:
            look.failed(error)
        return result

    return memtop_resize


def _handler(look: Look) -> Any:
    """What the mode calls for each operator. A closure, and the commonest road written out in it: every name looked up
    and every call made here is paid for tens of thousands of times in a step."""
    sizes, refs, events, live = look.sizes, look.refs, look.events, look.live
    kinds, storage_of, weak, now = operators.known, torch._C.TensorBase.untyped_storage, weakref.ref, time.monotonic_ns
    keep, alike = look._flat.extend, look._alike.setdefault
    died, writes = events.append, look.writes

    def memtop_dispatch(_: Any, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the operator first: whatever fails after it is ours and must not be the person's."""
        if types and not operators.all_plain(types):
            return NotImplemented  # A subclass unpacks itself; its own operators come here again.
        kind = kinds.get(func)
        if kind is None:
            kind = operators.kind_of(func)
        if kind < 0:
            return func(*args, **(kwargs or {}))
        began = now() if kind >= SYNC else 0
        try:
            result = func._op(*args, **kwargs) if kwargs else func._op(*args)
        except (RuntimeError, MemoryError) as error:
            look.raised(error)
            raise
        if began:
            kind -= SYNC
            look.waited(func, args, kwargs, result, now() - began)
        if kind != NEW:
            if kind == NONE or (kind == SHAPE and not writes and look.phase != FORWARD):
                return result
            if look.broken is None:
                try:
                    frame = sys._getframe(1)
                except ValueError:
                    frame = None  # Autograd's own thread of a GPU: no Python above.
                look.other(kind, func, result, args, frame)
            return result
        if look.broken is not None:
            return result
        try:
            storage = storage_of(result)
        except (NotImplementedError, RuntimeError, TypeError):  # A sparse tensor; `None` where the schema said tensor.
            look.other(ANY, func, result, args, sys._getframe().f_back)
            return result
        try:
            key = storage._cdata
            number = live.get(key)
            if number is not None and refs[number]() is not None:
                look.measure(number)
                return result
            phase = look.phase
            if phase == OPTIMIZER:
                line, module, sequence = look.places.edge, 0, -1
            else:
                try:
                    frame = sys._getframe(1)
                except ValueError:
                    frame = None
                line, module, sequence, phase = look.where(frame)
            size = storage.nbytes()
            if result.is_cpu:
                device = "cpu"
            else:
                device = look.device_of(result.device)
                look.addresses[len(refs)] = address(result)
            number = live[key] = len(refs)
            shape = result.shape
            keep((size, device, alike(shape, shape), result.dtype, func, line, module, sequence, phase, now()))
            sizes.append(size)
            refs.append(weak(storage, died))
            events.append(number)
            if phase != OPTIMIZER:
                look.told(number, phase, func, result, args)
        except Exception as error:
            look.failed(error)
        return result

    memtop_dispatch._torchdynamo_disable = True  # type: ignore[attr-defined]
    return memtop_dispatch


def address(tensor: Any) -> int:
    """Where a tensor's storage begins in its device's memory; 0 for none. Unlike `data_ptr()`, `const_data_ptr()` never
    materialises a copy-on-write storage; a torch too old for it is asked the other way."""
    try:
        begins = getattr(tensor, "const_data_ptr", tensor.data_ptr)()
        return max(0, begins - tensor.storage_offset() * tensor.element_size())
    except (NotImplementedError, RuntimeError, TypeError):
        return 0
