"""What a deep look must not do: end `torch.compile`, take a mode of the person's off, hide an error, keep a tensor."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the probe lives in a process that has torch")

from torch import nn  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode  # noqa: E402

from memtop.probe import deep  # noqa: E402
from memtop.probe.look import Look  # noqa: E402
from memtop.probe.sample import Samples  # noqa: E402
from tests.unit.deep_driver import Driver, modules_of  # noqa: E402


class Counting(TorchDispatchMode):
    """A person's mode."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture
def training() -> tuple[Any, Any]:
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    assert _get_current_dispatch_mode() is None


def test_a_compiled_function_stays_compiled_and_compiles_no_more(training: Any) -> None:
    model, optimizer = training
    ran: list[int] = []

    def backend(graph: Any, _: Any) -> Any:
        def call(*args: Any) -> Any:
            ran.append(1)
            return graph.forward(*args)

        compiled.append(1)
        return call

    compiled: list[int] = []
    torch._dynamo.reset()
    forward = torch.compile(lambda x: model(x).sum(), backend=backend)

    def step() -> None:
        optimizer.zero_grad()
        forward(torch.ones(2, 4)).backward()
        optimizer.step()

    step()
    assert (len(compiled), len(ran)) == (1, 1)
    Driver(optimizer, modules=modules_of(model)).look(step)
    step()
    assert (len(compiled), len(ran)) == (1, 3)


def test_what_the_person_watches_with_comes_first() -> None:
    assert deep.obstacle() is None
    with Counting():
        assert "dispatch mode" in (deep.obstacle() or "")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]):
        assert "profiler" in (deep.obstacle() or "")
    assert deep.obstacle() is None


def test_where_a_mode_would_end_compiled_code_there_is_no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before torch 2.13 no mode can say that compilers need not mind it: it ended compiled functions, tried on 2.8."""
    monkeypatch.delattr(TorchDispatchMode, "ignore_compile_internals")
    torch._dynamo.reset()
    monkeypatch.setattr(torch._dynamo.eval_frame, "cached_backends", {1: None})
    assert deep.obstacle() is None
    torch.compile(lambda x: x, backend="eager")
    assert "torch.compile is in use" in (deep.obstacle() or "")


def test_a_mode_that_the_person_enters_during_a_look_stays(training: Any) -> None:
    look, theirs = Look(), Counting()
    look.enter()
    with theirs:
        look.leave()
        assert _get_current_dispatch_mode() is theirs
        torch.ones(1)
    assert theirs.count == 1


def test_a_persons_mode_sees_all_operators_during_a_look(training: Any) -> None:
    model, optimizer = training
    theirs = Counting()

    def step() -> None:
        with theirs:
            model(torch.ones(2, 4)).sum().backward()
        optimizer.step()

    step()
    alone, theirs.count = theirs.count, 0
    optimizer.zero_grad()
    Driver(optimizer, modules=modules_of(model)).look(step)
    assert theirs.count >= alone


def test_a_subclass_of_tensor_dispatches_as_it_would(training: Any) -> None:
    from torch.testing._internal.two_tensor import TwoTensor

    def computed() -> Any:
        one = TwoTensor(torch.ones(3), torch.full((3,), 2.0))
        return (one * 3 + one).sin()

    before, look = computed(), Look()
    look.enter()
    try:
        during = computed()
    finally:
        look.leave()
    assert look.broken is None
    assert type(during) is TwoTensor
    assert torch.equal(before.a, during.a)
    assert torch.equal(before.b, during.b)
    assert look.births, "the tensors inside were not seen"


def test_a_higher_order_operator_runs() -> None:
    from torch._higher_order_ops.wrap import wrap

    look = Look()
    look.enter()
    try:
        result = wrap(lambda x: x + 1, torch.ones(3))
    finally:
        look.leave()
    assert result.tolist() == [2.0, 2.0, 2.0]
    assert look.broken is None


def test_an_error_of_the_persons_is_theirs() -> None:
    look = Look()
    look.enter()
    try:
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            torch.ones(2, 3) @ torch.ones(2, 3)
        leaf = torch.ones(3, requires_grad=True)
        changed = leaf.exp()
        total = changed.sum()
        changed.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            total.backward()
    finally:
        look.leave()


def test_an_error_of_ours_ends_the_look_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    look = Look()
    monkeypatch.setattr(look, "where", lambda _: 1 / 0)
    look.enter()
    try:
        assert torch.ones(3).add(1).tolist() == [2.0, 2.0, 2.0]
    finally:
        look.leave()
    assert look.broken == "ZeroDivisionError: division by zero"


def test_no_tensor_is_kept(training: Any) -> None:
    model, optimizer = training
    seen: list[Any] = []

    def step() -> None:
        x = torch.ones(2, 4)
        y = model(x)
        seen.extend((weakref.ref(x), weakref.ref(y)))
        y.sum().backward()
        optimizer.step()

    gc.disable()  # What a look kept in a circle would be found here.
    try:
        Driver(optimizer, modules=modules_of(model)).look(step)
        assert [one() for one in seen] == [None, None]
    finally:
        gc.enable()


def test_the_generators_are_not_touched(training: Any) -> None:
    model, optimizer = training

    def step() -> None:
        model(torch.ones(2, 4)).sum().backward()
        optimizer.step()

    before = torch.get_rng_state()
    Driver(optimizer, modules=modules_of(model)).look(step)
    assert torch.equal(before, torch.get_rng_state())


def test_a_patch_of_the_persons_on_resizing_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []

    def theirs(storage: Any, size: int) -> Any:
        told.append(size)
        return torch._C.StorageBase.resize_(storage, size)

    storage = torch.ones(4).untyped_storage()
    look = Look()
    look.enter()
    look.leave()
    assert "resize_" not in torch.UntypedStorage.__dict__
    monkeypatch.setattr(torch.UntypedStorage, "resize_", theirs)
    look = Look()
    look.enter()
    storage.resize_(8)
    look.leave()
    storage.resize_(12)
    assert told == [8, 12]
    assert torch.UntypedStorage.__dict__["resize_"] is theirs


def test_samples_of_the_batch_are_in_no_figure_of_the_look(training: Any) -> None:
    """The same step twice, once with samples taken of what it is fed: all moments have the same bytes."""
    model, optimizer = training

    def looked(with_samples: bool) -> Any:
        driver = Driver(optimizer, modules=modules_of(model))

        def step() -> None:
            assert driver._look is not None
            driver._look.samples = Samples(2) if with_samples else None
            optimizer.zero_grad()
            batch = driver.took(torch.ones(2, 4))
            driver._look.entered((batch,), {})
            model(batch).sum().backward()
            optimizer.step()
            taken.append(driver._look.samples)

        taken: list[Any] = []
        found = driver.look(step)
        assert not with_samples or taken[0].record() is not None
        return [found.at(moment) for moment in ("forward_end", "backward_end", "peak", "step_end")]

    looked(False)
    assert looked(True) == looked(False)


def test_samples_keep_no_tensor_of_the_persons() -> None:
    batch = torch.ones(2, 4)
    gone = weakref.ref(batch)
    samples = Samples(2)
    samples.loaded({"x": batch})
    samples.entered((batch,), {})
    del batch
    gc.collect()
    assert gone() is None
    assert samples.record() is not None
