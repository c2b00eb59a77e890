"""Which lines of a step read values, as a look on the CPU tells them; and that the look leaves nothing behind."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch

from memtop.probe import reads
from memtop.probe.births import DATA, OPTIMIZER
from memtop.probe.look import Look


@pytest.fixture(autouse=True)
def nobody_minds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests of this process compile, and have classes of tensors of their own."""
    monkeypatch.setattr(reads, "compiling", lambda: False)
    monkeypatch.setattr(reads, "_classes", lambda kind: iter(minding))
    minding.clear()


minding: list[type] = []
"""Classes of tensors that are known of."""
MASK = torch.tensor([True, False, True])
PARAMETER = torch.nn.Parameter(torch.ones(2))


def looked(run: Callable[[torch.Tensor], object], phase: int | None = None) -> list[tuple[str, int, int]]:
    """Operator, line and count of each read in `run`, whose tensor it is given."""
    x = torch.arange(3.0)
    look = Look()
    look.enter()
    look.phase = look.phase if phase is None else phase
    try:
        run(x)
    finally:
        look.leave()
    assert look.broken is None
    told = look.syncs.told(1)
    return [] if told is None else [(row["operator"], row["line"], row["count"]) for row in told[1]["rows"]]


def line_of(run: Callable[..., object]) -> int:
    return inspect.getsourcelines(run)[1]


READS: dict[str, tuple[Callable[[torch.Tensor], object], str]] = {
    "item": (lambda x: x[0].item(), "_local_scalar_dense"),
    "bool": (lambda x: bool(x[0]), "_local_scalar_dense"),
    "if": (lambda x: 1 if x.sum() > 0 else 0, "_local_scalar_dense"),
    "float": (lambda x: float(x[0]), "_local_scalar_dense"),
    "format": (lambda x: f"{x[0]:.2f}", "_local_scalar_dense"),
    "tolist": (lambda x: x.tolist(), "tolist"),
    "print": (lambda x: str(x), "repr"),
    "f-string": (lambda x: f"{x}", "repr"),
    "print a parameter": (lambda x: str(PARAMETER), "repr"),
    "cpu": (lambda x: x.cpu(), "cpu"),
    "nonzero": (lambda x: x.nonzero(), "nonzero"),
    "where": (lambda x: torch.where(MASK), "nonzero"),
    "mask": (lambda x: x[MASK], "index"),
    "unique": (lambda x: torch.unique(x), "_unique2"),
    "equal": (lambda x: torch.equal(x, x), "equal"),
    "allclose": (lambda x: torch.allclose(x, x), "allclose"),
}


@pytest.mark.parametrize("name", READS)
def test_each_way_of_reading_is_told_with_its_line(name: str) -> None:
    run, operator = READS[name]
    assert looked(run) == [(operator, line_of(run), 1)]


@pytest.mark.parametrize(
    "run",
    [
        lambda x: x.numpy(),
        lambda x: x[torch.tensor([0, 1])],
        lambda x: torch.where(MASK, x, x),
        lambda x: x.masked_fill(MASK, 0.0),
        lambda x: x.clone().__setitem__(MASK, 0.0),
        lambda x: x.to("cpu"),
        lambda x: x.detach().clone(),
    ],
)
def test_what_waits_on_no_gpu_is_not_told(run: Callable[[torch.Tensor], object]) -> None:
    assert looked(run) == []


def test_a_loader_s_and_an_optimizer_s_reads_are_the_cpu_s_own() -> None:
    assert looked(lambda x: x.tolist(), DATA) == looked(lambda x: x[0].item(), OPTIMIZER) == []


def test_nothing_is_left_of_the_wraps_and_methods_answer_as_ever() -> None:
    before = {name: torch.Tensor.__dict__.get(name) for name in ("tolist", "cpu", "__repr__")}
    x, got = torch.arange(3.0), []

    def run(_: Any) -> None:
        got.extend([x.tolist(), repr(x), x.cpu() is x])

    looked(run)
    assert got == [[0.0, 1.0, 2.0], "tensor([0., 1., 2.])", True]
    assert {name: torch.Tensor.__dict__.get(name) for name in before} == before


def test_a_class_that_knows_functions_by_identity_is_left_alone() -> None:
    seen = []

    class Odd(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(func)
            return super().__torch_function__(func, types, args, kwargs or {})

    original = torch.Tensor.tolist
    odd = torch.arange(3.0).as_subclass(Odd)
    seen.clear()
    minding.append(Odd)
    assert looked(lambda x: odd.tolist()) == []
    assert original in seen


def test_where_anything_is_compiled_nothing_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "compiling", lambda: True)
    assert looked(lambda x: x.tolist()) == []
