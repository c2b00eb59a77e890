"""Calls of root modules, and optimizers that torch's hooks don't see, by real modules of torch."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the probe lives in a process that has torch")

from memtop.probe import stepping  # noqa: E402
from memtop.probe.forwards import Forwards, Roots, price  # noqa: E402
from memtop.probe.inputs import Inputs  # noqa: E402


class Diary:
    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.calls = 0

    def forward_begins(self, root: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.told.append(("begins", root))

    def forward_ended(self, root: Any, result: Any, calls: int) -> None:
        self.told.append(("ended", root))
        self.calls = calls


@pytest.fixture
def diary() -> Diary:
    return Diary()


@pytest.fixture
def forwards(diary: Diary) -> Iterator[Forwards]:
    original = torch.nn.Module.__call__
    errors: list[Exception] = []
    forwards = Forwards(diary, errors.append)
    forwards.watch(True)
    yield forwards
    forwards.remove()
    assert torch.nn.Module.__call__ is original
    assert not errors


def model() -> Any:
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(8, 2)))


def test_only_the_outermost_call_is_told(forwards: Forwards, diary: Diary) -> None:
    one, loss = model(), torch.nn.MSELoss()
    loss(one(torch.ones(3, 4)), torch.ones(3, 2))
    assert diary.told == [("begins", one), ("ended", one), ("begins", loss), ("ended", loss)]
    one(torch.ones(3, 4))
    assert diary.calls == 4


def test_what_forward_raises_is_the_persons_and_shows_one_frame_of_ours(forwards: Forwards, diary: Diary) -> None:
    one = model()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied") as caught:
            one(torch.ones(3, 5))
        frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert frames.count("memtop_call") == 1
        assert diary.told.pop() == ("begins", one)
    one(torch.ones(3, 4))
    assert diary.told[-1] == ("ended", one)


def test_a_wrap_put_over_ours_stays_and_ours_is_silent(forwards: Forwards, diary: Diary) -> None:
    original, ours = forwards._original, torch.nn.Module.__call__

    def theirs(self: Any, *args: Any, **kwargs: Any) -> Any:
        return ours(self, *args, **kwargs)

    torch.nn.Module.__call__ = theirs
    try:
        forwards.watch(False)
        assert torch.nn.Module.__call__ is theirs
        model()(torch.ones(3, 4))
        assert diary.told == []
    finally:
        torch.nn.Module.__call__ = original


def test_dynamo_imported_meanwhile_is_told_what_is_torchs_own(forwards: Forwards) -> None:
    utils = pytest.importorskip("torch._dynamo.utils")
    original = forwards._original
    before, utils.unpatched_nn_module_call = utils.unpatched_nn_module_call, torch.nn.Module.__call__
    try:
        forwards.watch(False)
        assert utils.unpatched_nn_module_call is original
    finally:
        utils.unpatched_nn_module_call = before


def test_the_wrap_has_a_price() -> None:
    assert 1 <= price() < 100_000


def test_the_first_root_with_parameters_closes_the_step() -> None:
    roots, first, second, loss = Roots(), model(), model(), torch.nn.MSELoss()
    calls = [loss, first, loss, second, first, second, loss]
    assert [roots.closes(one) for one in calls] == [False, True, False, False, True, False, False]
    assert [roots.closes(second) for _ in range(3)] == [True] * 3, "the first is called no more"


class Own:
    """An optimizer that owes torch nothing."""

    def __init__(self, parameters: list[Any]) -> None:
        self.param_groups = [{"params": parameters}]
        self.state: dict[Any, Any] = {}

    def zero_grad(self) -> None: ...
    def step(self) -> None: ...


class Silent(torch.optim.Optimizer):
    """Never calls torch's constructor."""

    def __init__(self, parameters: list[Any]) -> None:
        self.param_groups, self.state = [{"params": parameters}], {}  # type: ignore[assignment]

    def step(self, closure: Any = None) -> Any: ...


class Scheduler:
    def step(self) -> None: ...
    def zero_grad(self) -> None: ...


def test_optimizers_are_known_by_what_they_have() -> None:
    weights = [torch.nn.Parameter(torch.ones(2))]
    own, silent, real = Own(weights), Silent(weights), torch.optim.SGD(weights, lr=0.1)
    found = stepping.found([own, silent, real, Scheduler(), Own, object(), weights])
    assert [known() for known in found.strange] == [own, silent]
    assert [known() for known in found.hooked] == [real]
    assert found.kinds == {Own, Silent}
    del real
    assert not found.any_hooked


def test_micro_batches_add_up_and_calls_before_one_backward_do_not() -> None:
    inputs, root = Inputs(), torch.nn.Linear(4, 2)
    for size in (6, 5):
        inputs.entered(root, (torch.ones(size, 4),))
        inputs.entered(root, (torch.zeros(size, 4),))
        inputs.backward_ended()
    assert (inputs.samples, inputs.batches) == (11, 2)
    inputs.others_step()
    inputs.entered(root, (torch.ones(7, 4),))
    assert (inputs.samples, inputs.batches) == (7, 1)
    inputs.step_ended()
    assert (inputs.samples, inputs.usual) == (None, 1)


def test_what_a_model_made_is_no_batch_and_what_disagrees_is_unknown() -> None:
    inputs, root = Inputs(), torch.nn.Linear(4, 2)
    inputs.entered(root, (torch.ones(3, 4, requires_grad=True),))
    assert inputs.samples is None
    inputs.entered(root, (torch.ones(3, 4), torch.ones(5, 4)))
    inputs.backward_ended()
    inputs.entered(root, (torch.ones(3, 4),))
    assert inputs.samples is None


def test_what_the_graph_holds_tells_the_batch_of_a_call_that_was_not_seen() -> None:
    inputs, root = Inputs(), torch.nn.Linear(4, 2)
    inputs.entered(root, (torch.ones(3, 4),))
    inputs.step_ended()
    assert not inputs.looks_fed(torch.ones(9, 5))
    assert not inputs.looks_fed(torch.ones(9, 4, requires_grad=True))
    assert inputs.looks_fed(torch.ones(9, 4))
    assert inputs.samples == 9


def test_an_evaluation_before_a_step_is_no_part_of_its_batch() -> None:
    inputs, evaluation, training = Inputs(), Pass(5, 5), Pass(10, 1)
    for _ in range(5):
        inputs.took([torch.ones(64, 4)], 1, evaluation)
    inputs.ran_out(evaluation)
    inputs.took([torch.ones(32, 4)], 1, training)
    assert (inputs.samples, inputs.batches, inputs.steps_left()) == (32, 1, 9)
    inputs.took([torch.ones(32, 4)], 1, training)
    inputs.backward_ended()
    inputs.ran_out(training)
    assert inputs.samples == 64, "what a backward has worked on counts"


def test_a_sampler_without_an_end_has_no_last_step() -> None:
    inputs, endless, long = Inputs(), Pass(2**63 // 64 - 1, 1), Pass(10**9, 1)
    inputs.took([torch.ones(64, 4)], 1, endless)
    assert inputs.steps_left() is None
    inputs.took([torch.ones(64, 4)], 1, long)
    assert inputs.steps_left() == 10**9 - 1


class Pass:
    """A loader's iterator: so many batches, of which some have been yielded."""

    def __init__(self, length: int, yielded: int) -> None:
        self._length, self._num_yielded = length, yielded

    def __len__(self) -> int:
        return self._length
