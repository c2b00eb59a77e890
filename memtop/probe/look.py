"""One whole step, watched operator by operator: which storages are born, when they die, where they come from.

A light dispatch mode stands around the step. It holds no tensor: a storage's death is told by a weak reference to it,
whose callback is a list's own `append`. What the events mean is worked out after the step, in `attribution.py`.

Scratch that an operator takes and gives back inside itself is invisible here; so is what threads of the person's own
allocate, for a mode belongs to its thread (autograd's threads inherit it).
"""

from __future__ import annotations

import sys
import time
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode

from .births import (
    BACKWARD,
    DATA,
    FIELDS,
    FORWARD,
    HELD,
    MODULE,
    OPTIMIZER,
    PHASE,
    RECOMPUTE,
    Birth,
    Flop,
    Moment,
    Move,
    Resize,
)
from .mode import Mode, address, resizing
from .operators import ANY, SIZE
from .origins import Origins
from .places import Places
from .reads import Reads
from .storages import device_name, pieces, storages, tensors
from .syncs import Syncs

LIMIT = 2_000_000
"""Storages of one look; a step that makes more is followed no further."""
_sequence = torch._C._autograd._get_sequence_nr
_node = torch._C._current_autograd_node
_storage = torch._C.TensorBase.untyped_storage
_now = time.monotonic_ns
_ADD = torch.ops.aten.add.Tensor
_ENGINE = torch.autograd.graph._engine_run_backward.__code__

Key = int
Where = tuple[int, int, int, int]
"""Line (a number of `Places`), module (its `id`), autograd's number, phase."""


class Look:
    """The events of one step, in order."""

    def __init__(self, countable: frozenset[Any] = frozenset(), writes: bool = False) -> None:
        """`countable`: operators whose shapes are kept. `writes`: look at what backward writes into, too: the buckets
        of a distributed run."""
        self._births: list[Birth] = []
        self._flat: list[Any] = []
        """The fields of each birth, one after another: a tuple a birth would bring on collections of all the person
        has, 100 ms each."""
        self.devices: set[str] = set()
        """The CUDA devices that something lives on."""
        self._alike: dict[Any, Any] = {}
        self.sizes: list[int] = []
        """Bytes of each birth's storage as last seen."""
        self.refs: list[Any] = []
        """A weak reference to the storage of each birth."""
        self.events: list[Any] = []
        """A number (birth), a dead weak reference (death), a `Moment` or a `Resize`."""
        self.live: dict[Key, int] = {}
        """The newest birth by the storage's address."""
        self.addresses: dict[int, int] = {}
        """Where a birth's memory begins, of those on a device."""
        self.moves: list[Move] = []
        """Storages on a device that were resized: their memory is elsewhere now."""
        self.batch: set[int] = set()
        """Births that are the batch or came from it alone."""
        self.fresh: set[int] = set()
        """Births of forward, outside of any module, that came of no tensor, or of such births alone."""
        self.entered: set[int] = set()
        """Those of them that a later operator of forward read."""
        self.fed = False
        """Whether a loader yielded a batch in this step."""
        self.read: dict[int, bool] = {}
        """Births of before the step that forward read, unknown until then; true where they take a gradient."""
        self.written: set[int] = set()
        """Births of before the step, unknown until then, or of forward, that autograd wrote gradients into."""
        self.recomputed: set[int] = set()
        """Births that a checkpoint made again and kept until backward used them."""
        self.nodes: dict[int, int] = {}
        """The module by autograd's number, for nodes whose operators made no storage."""
        self.sums: dict[int, tuple[int, ...]] = {}
        """By birth: the births that autograd added up, where one gradient comes from several users of a tensor."""
        self.again: set[int] = set()
        """Autograd's numbers of the nodes that a recomputation ran in."""
        self.origins = Origins(self.live, self.refs)
        """What births were made of."""
        self.samples = 0
        """The first dimension of what a loader yielded, the largest of the step; 0 for nothing yielded."""
        self.sample: tuple[int, ...] = ()
        """The shape of one sample of the first tensor that a loader yielded."""
        self.yielded = 0
        """How many batches a loader yielded."""
        self.flops: list[Flop] = []
        self.shapes: dict[int, tuple[int, ...]] = {}
        """What each module made last in forward, by its `id`."""
        self.places = Places()
        self.syncs = Syncs(self.places)
        self.raised: Callable[[BaseException], None] = lambda error: None
        """Called with what an operator raises. Must not raise."""
        self.phase = FORWARD
        self.broken: str | None = None
        """Why the look was given up."""
        self.began = _now()
        self._again: list[int] = []
        self._engine = False
        self._resize: Any = None
        self._countable = countable
        self.writes = writes
        """Whether what backward writes into is looked at."""
        self._mode = Mode(self)
        self._methods = Reads(self)

    @property
    def births(self) -> list[Birth]:
        """The storages seen so far, in the order in which they were seen."""
        flat, made = self._flat, self._births
        for start in range(len(made) * FIELDS, len(flat), FIELDS):
            made.append(tuple.__new__(Birth, flat[start : start + FIELDS]))
        return made

    def device_of(self, device: Any) -> str:
        """The name of a device; those of CUDA are remembered."""
        name = device_name(device)
        if name.startswith("cuda"):
            self.devices.add(name)
        return name

    def phase_of(self, number: int) -> int:
        """The phase that a birth fell into."""
        phase: int = self._flat[number * FIELDS + PHASE]
        return phase

    def enter(self) -> None:
        """Watch the operators of this thread from now on."""
        self.began = _now()
        self._resize = torch.UntypedStorage.__dict__.get("resize_")
        torch.UntypedStorage.resize_ = resizing(self, torch.UntypedStorage.resize_)
        self._methods.enter()
        self._mode.__enter__()

    def leave(self) -> None:
        """Stop watching. Where the person's own mode was put on top since, it stays where it is."""
        self._give_resize_back()
        self._methods.leave()
        above = []
        while (top := _get_current_dispatch_mode()) is not None and top is not self._mode:
            above.append(top)
            torch._C._pop_torch_dispatch_stack(None)
        if top is not None:
            self._mode.__exit__(None, None, None)
        for mode in reversed(above):
            torch._C._push_on_torch_dispatch_stack(mode)
        self._mode.__dict__.pop("__torch_dispatch__", None)

    def _give_resize_back(self) -> None:
        """As it was: inherited, as torch has it, or what somebody had put there. A wrap put over ours stays."""
        if getattr(torch.UntypedStorage.__dict__.get("resize_"), "__name__", "") != "memtop_resize":
            return
        if self._resize is None:
            del torch.UntypedStorage.resize_
        else:
            torch.UntypedStorage.resize_ = self._resize

    # -- what the moments tell ---------------------------------------------------------------------------------------

    def moment(self, name: str) -> None:
        """The step is at this point."""
        self.events.append(Moment(name, _now()))

    def alive(self) -> list[int]:
        """The births whose storages live now."""
        refs = self.refs
        return [number for number in self.live.values() if refs[number]() is not None]

    def number(self, storage: Any) -> int | None:
        """The birth of a storage that lives; `None` where it was never seen."""
        number = self.live.get(storage._cdata)
        return None if number is None or self.refs[number]() is None else number

    def adopt(self, storage: Any, tensor: Any, phase: int = HELD, alike: Any = None) -> int:
        """A storage that no operator of this look made. It counts from the step's start where `phase` is `HELD`, else
        from now. `tensor` says its shape and dtype, or `alike` does where the tensor itself is not at hand."""
        number = self.number(storage)
        if number is None:
            at = self.began if phase == HELD else _now()
            size, device = storage.nbytes(), self.device_of(storage.device)
            says = alike if tensor is None else tensor
            shape, dtype = ((size,), torch.uint8) if says is None else (says.shape, says.dtype)
            number = self._keep(storage, Birth(size, device, shape, dtype, None, -1, 0, -1, phase, at), tensor)
            if phase != HELD:
                self.events.append(number)
        return number

    def took(self, batch: Any) -> None:
        """A loader yielded this batch."""
        self.fed = True
        found = list(tensors(batch))
        for one in found:
            for piece in pieces(one):
                self.batch.update(self.adopt(storage, piece, DATA) for storage in storages(piece))
        self.yielded += 1
        first = next((tuple(one.shape) for one in found if one.dim()), None)
        if first is not None and first[0] > self.samples:
            self.samples, self.sample = first[0], first[1:]

    def waited(self, operator: Any, args: Any, kwargs: Any, result: Any, elapsed_ns: int) -> None:
        """An operator that may make the CPU wait for a device has run."""
        try:
            try:
                frame = sys._getframe(2)
            except ValueError:
                frame = None
            self.syncs.ran(operator, args, kwargs, result, frame, self.phase, elapsed_ns)
        except Exception as error:
            self.failed(error)

    # -- what operators do -------------------------------------------------------------------------------------------

    def other(self, kind: int, operator: Any, result: Any, arguments: tuple[Any, ...], frame: Any) -> None:
        """An operator that does not simply return one new tensor has run."""
        try:
            if kind == ANY:
                self.made(operator, result, arguments, frame)
            elif kind == SIZE:
                self.resized((result, arguments))
                if self.writes and self.phase == BACKWARD:
                    self.wrote(result)
            elif self.phase == FORWARD:
                self.shaped(result, frame)
            elif self.phase == BACKWARD:
                self.wrote(arguments[0] if arguments else None)
        except Exception as error:
            self.failed(error)

    def failed(self, error: Exception) -> None:
        """Something of ours broke: the look is given up, the step goes on."""
        self.broken = f"{type(error).__name__}: {error}"

    def made(self, operator: Any, results: Any, arguments: tuple[Any, ...], frame: Any) -> None:
        """An operator has returned tensors: those whose storages are new were born in it."""
        where: Where | None = None
        first: Any = None
        for result in tensors(results):
            first = result if first is None else first
            for storage in storages(result):
                number = self.number(storage)
                if number is not None:
                    self.measure(number)
                    continue
                where = where or self.where(frame)
                line, module, sequence, phase = where
                size, device = storage.nbytes(), self.device_of(storage.device)
                birth = Birth(size, device, result.shape, result.dtype, operator, line, module, sequence, phase, _now())
                number = self._keep(storage, birth, result)
                self.events.append(number)
                self.told(number, phase, operator, result, arguments)
        if where is not None and where[1] and where[3] == FORWARD:
            self.shapes[where[1]] = first.shape  # What follows it are statistics, indices, a kernel's own workspace.

    def resized(self, results: Any) -> None:
        """An operator may have given storages another size."""
        for one in tensors(results):
            for storage in storages(one):
                number = self.number(storage)
                if number is not None:
                    self.measure(number)

    def shaped(self, result: Any, frame: Any) -> None:
        """An operator of forward gave a tensor another shape, or wrote into it: that is what its module made."""
        module = self.places.find(frame)[1]
        if module:
            self.shapes[module] = result.shape
            self.nodes[_sequence() - 1] = module

    def wrote(self, target: Any) -> None:
        """Backward wrote into a tensor. One of before the step that nobody knows, or made in forward, written by the
        accumulation of a gradient, is a bucket of gradients: they are made anew in the second step's forward."""
        node = _node()
        if node is not None and "AccumulateGrad" in node.name() and type(target) is torch.Tensor:
            for storage in storages(target):
                number = self.number(storage)
                if number is None or self.phase_of(number) == FORWARD:
                    self.written.add(self.adopt(storage, target))

    def _keep(self, storage: Any, birth: Birth, tensor: Any) -> int:
        number = len(self.refs)
        if birth.device != "cpu":
            self.addresses[number] = address(_whole(storage) if tensor is None else tensor)
        self._flat.extend(birth)
        self.sizes.append(birth[0])
        self.refs.append(weakref.ref(storage, self.events.append))
        self.live[storage._cdata] = number
        return number

    def measure(self, number: int) -> None:
        storage = self.refs[number]()
        if storage is not None and (size := storage.nbytes()) != self.sizes[number]:
            self.sizes[number] = size
            self.events.append(Resize(number, size))
            if number in self.addresses:
                self.moves.append(Move(number, size, storage.data_ptr(), _now()))  # Resized, so no copy-on-write.

    def told(self, number: int, phase: int, operator: Any, result: Any, arguments: tuple[Any, ...]) -> None:
        """What a birth tells besides: whether it is of a recomputation, and in forward what was read for it."""
        if phase == FORWARD:
            self._forward(number, operator, result, arguments)
        elif phase == RECOMPUTE:
            self._again.append(number)
            self.origins.add(number, operator, arguments)
        elif phase == BACKWARD:
            self.origins.add(number, operator, arguments)
            if self._engine and operator is _ADD and not torch.is_grad_enabled():
                self.sums[number] = tuple(self._reads(one) for one in arguments[:2])
            if self._again:
                self.used_again()
        if number >= LIMIT:
            self.broken = f"the step made more than {LIMIT:,} tensors"

    def used_again(self) -> None:
        """A recomputation is over: what lives of it is what backward needs."""
        refs = self.refs
        self.recomputed.update(number for number in self._again if refs[number]() is not None)
        self._again = []

    def where(self, frame: Any) -> Where:
        """Where the operator runs that was called from `frame`."""
        phase = self.phase
        if phase == FORWARD:
            line, module, _ = self.places.find(frame)
            return line, module, _sequence() - 1, FORWARD
        if phase == BACKWARD:
            node = _node()
            sequence = -1 if node is None else node._sequence_nr()
            self._engine = frame is None or frame.f_code is _ENGINE
            if self._engine:  # No Python of anybody's between autograd and the operator.
                return self.places.edge, 0, sequence, BACKWARD
            line, module, again = self.places.find(frame)
            if again or module:
                self.again.add(sequence)
                return line, module, _sequence() - 1, RECOMPUTE
            return line, 0, sequence, BACKWARD
        if phase == OPTIMIZER:
            return self.places.edge, 0, -1, OPTIMIZER
        return self.places.find(frame)[0], 0, -1, phase

    def _forward(self, number: int, operator: Any, result: Any, arguments: tuple[Any, ...]) -> None:
        module = self._flat[number * FIELDS + MODULE]
        if module:
            self.shapes[module] = result.shape
        read = [self._reads(one) for one in arguments if isinstance(one, torch.Tensor)]
        self.origins.add(number, operator, arguments)
        self.entered.update(self.fresh.intersection(read))
        if not module:
            if read and self.batch.issuperset(read):
                self.batch.add(number)
            elif self.fresh.issuperset(read):
                self.fresh.add(number)
        if operator in self._countable:
            shapes = tuple(one.shape if isinstance(one, torch.Tensor) else one for one in arguments)
            self.flops.append(Flop(operator, module, shapes, result.shape))

    def _reads(self, tensor: Any) -> int:
        """The birth behind an operator's argument; one that was never seen was there before the step."""
        try:
            storage = _storage(tensor)
        except (NotImplementedError, RuntimeError, TypeError):
            return -1
        number = self.live.get(storage._cdata)
        if number is None or self.refs[number]() is None:
            number = self.adopt(storage, tensor)
            self.read[number] = tensor.requires_grad
        return number


def _whole(storage: Any) -> Any:
    """A tensor of a storage's bytes. Made by operators: not for when the mode is on."""
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
