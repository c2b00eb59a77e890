"""Where a step begins and ends, by real optimizers of torch."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the probe lives in a process that has torch")

from torch.optim import SGD, optimizer  # noqa: E402

from memtop.probe import steps as probe_steps  # noqa: E402


class Diary:
    """Writes down what it is told; fails where it is asked to."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.fails_at = ""

    def _note(self, what: str) -> None:
        self.told.append(what)
        if what == self.fails_at:
            raise RuntimeError("planted")

    def backward_begins(self, roots: list[Any]) -> None:
        self._note("backward")

    def backward_ended(self) -> None:
        self._note("returned")

    def optimizer_begins(self, optimizer: Any) -> None:
        self._note("begins")

    def optimizer_ended(self, optimizer: Any) -> None:
        self._note("ended")

    def step_ended(self) -> None:
        self._note("step")

    def step_skipped(self) -> None:
        self._note("skipped")

    def quiet_step(self) -> None:
        self._note("quiet")


class Watched:
    def __init__(self) -> None:
        self.diary = Diary()
        self.errors: list[Exception] = []
        self.steps = probe_steps.Steps(self.diary, self._failed)

    def _failed(self, error: Exception) -> None:
        self.errors.append(error)
        self.steps.remove()

    @property
    def told(self) -> list[str]:
        """What was told since the last time."""
        told, self.diary.told = self.diary.told, []
        return told


@pytest.fixture
def watched() -> Iterator[Watched]:
    scaling = torch.amp.GradScaler._maybe_opt_step
    hooks = [dict(each) for each in (optimizer._global_optimizer_pre_hooks, optimizer._global_optimizer_post_hooks)]
    backward = torch.autograd.backward
    watched = Watched()
    watched.steps.install()
    yield watched
    watched.steps.remove()
    assert torch.autograd.backward is backward
    torch.amp.GradScaler._maybe_opt_step = scaling
    for each, before in zip(
        (optimizer._global_optimizer_pre_hooks, optimizer._global_optimizer_post_hooks), hooks, strict=True
    ):
        each.clear()
        each.update(before)


ONE = ["begins", "ended", "step"]


def weights() -> list[Any]:
    parameter = torch.nn.Parameter(torch.ones(3))
    parameter.grad = torch.ones(3)
    return [parameter]


class Inner(SGD):
    def step(self, closure: Any = None) -> Any:
        return super().step(closure)


class Outer(Inner):
    """Calls its parent's step, and another optimizer's."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, lr=0.1)
        self.other = SGD(weights(), lr=0.1)

    def step(self, closure: Any = None) -> Any:
        self.other.step()
        return super().step(closure)


@pytest.mark.parametrize("kind", [Inner, Outer])
def test_nested_and_super_calls_are_one_step(watched: Watched, kind: Any) -> None:
    SGD(weights(), lr=0.1)  # its class's step is wrapped as well from here on
    Inner(weights(), lr=0.1)
    outer = kind(weights(), **({} if kind is Outer else {"lr": 0.1}))
    for _ in range(2):
        outer.step()
        assert watched.told == ONE
    watched.steps.quiet = True
    outer.step()
    assert watched.told == ["quiet"]
    assert not watched.errors


def test_after_a_step_that_raises_the_next_one_counts(watched: Watched) -> None:
    opt = Outer(weights())
    opt.step()
    assert watched.told == ONE

    def fails() -> float:
        raise ZeroDivisionError

    for quiet in (False, True):
        watched.steps.quiet = quiet
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                opt.step(fails)
        assert "step" not in watched.told
        opt.step()
        assert watched.told[-1] == ("quiet" if quiet else "step")
        opt.step()
        assert watched.told == (["quiet"] if quiet else ONE)


def test_of_several_optimizers_the_one_seen_first_closes_the_step(watched: Watched) -> None:
    first, second = SGD(weights(), lr=0.1), torch.optim.Adam(weights())
    first.step()
    assert watched.told == ONE
    second.step()
    assert watched.told == ["begins", "ended"]
    second.step()
    first.step()
    assert watched.told == ["begins", "ended", *ONE]
    watched.steps.quiet = True
    second.step()
    assert watched.told == []
    first.step()
    assert watched.told == ["quiet"]


@pytest.mark.parametrize("quiet", [False, True])
def test_when_the_first_optimizer_is_gone_the_next_one_takes_its_place(watched: Watched, quiet: bool) -> None:
    first, second = SGD(weights(), lr=0.1), SGD(weights(), lr=0.1)
    first.step()
    assert watched.told == ONE
    del first
    gc.collect()
    watched.steps.quiet = quiet
    second.step()
    assert watched.told == (["quiet"] if quiet else ONE)


def test_lbfgs_is_one_step_however_often_it_evaluates(watched: Watched) -> None:
    watched.steps.watch_backward(True)
    parameter = torch.nn.Parameter(torch.tensor([3.0, -2.0]))
    opt = torch.optim.LBFGS([parameter], max_iter=7)
    calls = 0

    def closure() -> Any:
        nonlocal calls
        calls += 1
        opt.zero_grad()
        loss = (parameter**4).sum()
        loss.backward()
        return loss

    opt.step(closure)
    assert calls > 2
    assert watched.told == ["begins", *["backward", "returned"] * calls, "ended", "step"]


def test_the_wrap_around_backward_comes_and_goes(watched: Watched) -> None:
    original = torch.autograd.backward
    watched.steps.watch_backward(True)
    wrap = torch.autograd.backward
    assert wrap is not original
    watched.steps.watch_backward(True)
    assert torch.autograd.backward is wrap
    weight = weights()[0]
    weight.sum().backward()
    torch.autograd.backward([(weight * 2).sum()])
    torch.autograd.backward(tensors=(weight * 2).sum())
    assert watched.told == ["backward", "returned"] * 3
    assert weight.grad.tolist() == [6.0] * 3
    watched.steps.watch_backward(False)
    assert torch.autograd.backward is original
    weight.sum().backward()
    assert watched.told == []


def test_somebody_elses_wrap_of_backward_is_left_alone(watched: Watched) -> None:
    original = torch.autograd.backward
    watched.steps.watch_backward(True)
    ours = torch.autograd.backward
    calls = []

    def theirs(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return ours(*args, **kwargs)

    torch.autograd.backward = theirs
    try:
        watched.steps.watch_backward(False)
        assert torch.autograd.backward is theirs
        weights()[0].sum().backward()
        assert (calls, watched.told) == ([1], [])
    finally:
        torch.autograd.backward = original


def test_what_backward_raises_is_the_persons(watched: Watched) -> None:
    watched.steps.watch_backward(True)
    loss = weights()[0].prod()
    loss.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        loss.backward()
    with pytest.raises(RuntimeError, match="does not require grad"):
        torch.ones(1).backward()
    assert watched.told == ["backward", "returned"] * 2
    assert not watched.errors


def test_thinned_steps_are_counted_without_python_of_ours(watched: Watched) -> None:
    opt = SGD(weights(), lr=0.1)
    opt.step()
    assert watched.told == ONE
    watched.steps.look_at, watched.steps.thin, watched.steps.quiet = 1 << 62, True, True
    assert watched.steps.thinned
    ours = (watched.steps._pre, watched.steps._post)
    hooks = [*optimizer._global_optimizer_pre_hooks.values(), *optimizer._global_optimizer_post_hooks.values()]
    assert not any(hook in ours for hook in hooks)
    for _ in range(7):
        opt.step()
    watched.steps.tick()  # it is not time yet
    opt.step()
    assert watched.told == []
    assert (watched.steps.take(), watched.steps.take()) == (8, 0)
    opt.step()
    watched.steps.look_at = 0
    watched.steps.tick()  # now it is: the next step's end is told
    opt.step()
    assert watched.told == ["quiet"]
    assert watched.steps.take() == 2
    watched.steps.quiet = False
    opt.step()
    assert watched.told == ONE


@pytest.mark.parametrize("late", [False, True])
def test_steps_that_c_cannot_count_are_not_thinned(watched: Watched, late: bool) -> None:
    """A second optimizer, seen before or while steps are thinned: from then on Python counts."""
    first, second = SGD(weights(), lr=0.1), SGD(weights(), lr=0.1)
    watched.steps.thin = True
    for opt in (first,) if late else (first, second):
        opt.step()
    watched.steps.look_at, watched.steps.quiet = 1 << 62, True
    assert watched.steps.thinned is late
    if late:
        first.step()
        watched.steps.look_at = 0
        watched.steps.tick()
        watched.steps.look_at = 1 << 62
        second.step()
        assert not watched.steps.thinned
        assert watched.steps.take() == 1
    for _ in range(5):
        first.step()
        second.step()
    assert watched.steps.take() == 5


def test_a_nested_step_is_not_thinned(watched: Watched) -> None:
    outer = Outer(weights())
    watched.steps.thin = True
    outer.step()
    watched.steps.look_at, watched.steps.quiet = 1 << 62, True
    assert not watched.steps.thinned
    outer.step()
    assert watched.steps.take() == 1


def test_hooks_change_places_while_torch_walks_over_them(watched: Watched) -> None:
    """The person's own hooks stand before and after ours, and run in every step, whatever we put in our places."""
    seen: list[str] = []
    theirs = [
        optimizer.register_optimizer_step_pre_hook(lambda *_: seen.append("pre")),
        optimizer.register_optimizer_step_post_hook(lambda *_: seen.append("post")),
    ]
    opt = SGD(weights(), lr=0.1)
    opt.step()
    thin = watched.steps
    original = watched.diary.quiet_step

    def swap() -> None:
        original()
        thin.thin = not thin.thin
        thin.quiet = True
        thin.tick()

    watched.diary.quiet_step = swap  # type: ignore[method-assign]
    thin.thin, thin.quiet = True, True
    thin.tick()
    for _ in range(6):
        opt.step()
    assert watched.told == [*ONE, *["quiet"] * 6]
    assert seen == ["pre", "post"] * 7
    assert thin.take() == 6
    for handle in theirs:
        handle.remove()


def test_a_hook_that_somebody_took_away_stays_away(watched: Watched) -> None:
    optimizer._global_optimizer_pre_hooks.clear()
    optimizer._global_optimizer_post_hooks.clear()
    watched.steps.thin, watched.steps.quiet = True, True
    watched.steps.quiet = False
    assert not optimizer._global_optimizer_pre_hooks
    assert not optimizer._global_optimizer_post_hooks


def test_hooks_in_c_are_the_cheaper_ones() -> None:
    whole, thin = probe_steps.prices()
    assert 0 < thin < whole < 1_000_000


@pytest.mark.parametrize("moment", ["backward", "returned", "begins", "ended", "step", "quiet"])
def test_a_failure_ends_the_watching_and_nothing_else(watched: Watched, moment: str) -> None:
    """A person's own hooks are registered after ours: they must all run, in the step that fails as well."""
    seen: list[str] = []
    theirs = [
        optimizer.register_optimizer_step_pre_hook(lambda *_: seen.append("pre")),
        optimizer.register_optimizer_step_post_hook(lambda *_: seen.append("post")),
    ]
    watched.steps.watch_backward(True)
    watched.steps.quiet = moment == "quiet"
    watched.diary.fails_at = moment
    opt = SGD(parameters := weights(), lr=1.0)
    for _ in range(3):
        opt.zero_grad()
        parameters[0].sum().backward()
        opt.step()
    assert parameters[0].tolist() == [-2.0] * 3
    assert seen == ["pre", "post"] * 3
    assert [str(error) for error in watched.errors] == ["planted"]
    assert watched.told.count(moment) == 1
    assert watched.told == []
    for handle in theirs:
        handle.remove()


def scaled(loss: float) -> tuple[Any, Any]:
    """A GradScaler, and an optimizer whose gradients it has scaled."""
    scaler, parameters = torch.amp.GradScaler("cpu", init_scale=2.0), weights()
    scaler.scale(parameters[0].sum() * loss).backward()
    return scaler, SGD(parameters, lr=0.1)


@pytest.mark.parametrize("how", ["watched", "quiet", "thinned"])
def test_a_step_that_a_scaler_skips_is_told_apart(watched: Watched, how: str) -> None:
    scaler, opt = scaled(1.0)
    SGD.step(opt)
    assert watched.told == ONE
    watched.steps.look_at, watched.steps.thin = 1 << 62, how == "thinned"
    watched.steps.quiet = how != "watched"
    assert watched.steps.thinned is (how == "thinned")
    scaler.step(opt)
    opt.param_groups[0]["params"][0].grad = torch.full((3,), float("nan"))
    scaler.update()
    scaler.step(opt)
    if how == "watched":
        assert watched.told == [*ONE, "skipped"]
    else:
        assert (watched.told, watched.steps.take(), watched.steps.take_skipped()) == ([], 1, 1)


class Stranger:
    """No optimizer of torch's."""

    def step(self) -> int:
        return 7


def test_an_optimizer_that_torch_does_not_know_can_be_adopted(watched: Watched) -> None:
    original = Stranger.step
    try:
        watched.steps.adopt(Stranger)
        watched.steps.adopt(Stranger)
        one = Stranger()
        assert (one.step(), watched.told) == (7, ONE)
        watched.steps.quiet = True
        assert (one.step(), watched.told) == (7, ["quiet"])
    finally:
        Stranger.step = original  # type: ignore[method-assign]


def test_where_no_optimizer_is_seen_a_backward_ends_a_step(watched: Watched) -> None:
    watched.steps.watch_backward(True)
    watched.steps.by_backward = True
    weight = weights()[0]
    weight.sum().backward()
    assert watched.told == ["backward", "returned", "step"]
    watched.steps.quiet = True
    weight.sum().backward()
    assert watched.told == ["quiet"]
    watched.steps.quiet = False
    SGD([weight], lr=0.1).step()
    assert watched.told == ONE
    weight.sum().backward()
    assert watched.told == ["backward", "returned"], "an optimizer has shown itself: its steps are the program's"


def test_dynamo_traces_nothing_of_ours_in_an_optimizers_step(watched: Watched) -> None:
    dynamo = pytest.importorskip("torch._dynamo")
    opt = SGD(weights(), lr=0.1)
    counted = dynamo.utils.counters["graph_break"]
    counted.clear()
    torch.compile(opt.step, backend="eager")()
    with_us = dict(counted)
    optimizer._global_optimizer_pre_hooks.clear()
    optimizer._global_optimizer_post_hooks.clear()
    dynamo.reset()
    counted.clear()
    torch.compile(opt.step, backend="eager")()
    assert with_us == dict(counted)
    dynamo.reset()
