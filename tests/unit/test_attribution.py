"""One test for each rule of `probe/attribution.py`, against bytes counted by hand. Sizes are of float32: 4 bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the probe lives in a process that has torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

from tests.unit.deep_driver import Driver, Seen, modules_of  # noqa: E402

B, IN, HIDDEN, OUT = 5, 7, 11, 3
LOSS = 4


def mlp(**layer: Any) -> nn.Sequential:
    return nn.Sequential(nn.Linear(IN, HIDDEN, **layer), nn.Tanh(), nn.Linear(HIDDEN, OUT, **layer))


def batch() -> Any:
    return torch.randn(B, IN)


PARAMETERS = 4 * (IN * HIDDEN + HIDDEN + HIDDEN * OUT + OUT)


class Case:
    """A model, its optimizer, and a step."""

    def __init__(self, model: Any, optimizer: Any = None, forward: Callable[[Any], Any] | None = None) -> None:
        self.model = model
        self.optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.1)
        self.driver = Driver(self.optimizer, modules=modules_of(model))
        self.forward = forward or (lambda x: model(x).square().mean())

    def step(self) -> None:
        self.optimizer.zero_grad()
        x = self.driver.took(batch())
        self.forward(x).backward()
        self.optimizer.step()

    def seen(self, warm: int = 1) -> Seen:
        for _ in range(warm):
            self.step()
        return self.driver.look(self.step)


def test_parameters_tied_frozen_and_of_modules() -> None:
    model = mlp()
    model[0].weight.requires_grad_(False)
    model.append(nn.Linear(OUT, HIDDEN, bias=False))
    model[3].weight = nn.Parameter(model[2].weight.detach().t())  # a view: the same storage under another shape
    seen = Case(model).seen()
    assert seen.at("forward_end")["parameters"] == PARAMETERS
    assert seen.row("2")["parameter_bytes"] == 4 * (HIDDEN * OUT + OUT)
    assert seen.row("3")["parameter_bytes"] == seen.row("3")["parameters"] == 0


def test_parameters_in_a_plain_list_count_once_they_have_stepped() -> None:
    weight = nn.Parameter(torch.randn(IN, OUT))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    driver = Driver(optimizer, modules=[])

    def step() -> None:
        optimizer.zero_grad()
        (driver.took(batch()) @ weight).square().mean().backward()
        optimizer.step()

    seen = driver.look(step)
    assert seen.at("backward_end")["parameters"] == seen.at("backward_end")["gradients"] == 4 * IN * OUT
    assert seen.at("backward_end")["other_tensors"] == 0


def test_buffers_persistent_or_not() -> None:
    model = nn.Sequential(nn.Linear(IN, HIDDEN), nn.BatchNorm1d(HIDDEN))
    model.register_buffer("table", torch.zeros(13), persistent=False)
    seen = Case(model).seen()
    assert seen.at("step_end")["buffers"] == 2 * 4 * HIDDEN + 8 + 4 * 13
    assert seen.row("1")["buffer_bytes"] == 2 * 4 * HIDDEN + 8


@pytest.mark.parametrize("to_none", [True, False])
def test_gradients_made_or_kept(to_none: bool) -> None:
    case = Case(mlp())
    case.step()
    case.optimizer.zero_grad(set_to_none=to_none)
    case.optimizer.zero_grad = lambda: None
    seen = case.driver.look(case.step)
    assert seen.at("forward_end")["gradients"] == (0 if to_none else PARAMETERS)
    assert seen.at("backward_end")["gradients"] == PARAMETERS


def test_gradients_accumulated_over_two_backwards() -> None:
    case = Case(mlp())

    def step() -> None:
        case.optimizer.zero_grad()
        for _ in range(2):
            case.forward(case.driver.took(batch())).backward()
        case.optimizer.step()

    step()
    seen = case.driver.look(step)
    assert seen.at("backward_end")["gradients"] == PARAMETERS
    # The second forward's activations are activations, too: its hidden layer's output, and the loss's input and mean.
    assert seen.at("peak")["other_tensors"] == 0
    assert seen.row("1")["activations"] == 4 * B * HIDDEN


def test_the_first_of_eight_micro_batches_holds_what_one_alone_holds() -> None:
    def held(pieces: int) -> int:
        case = Case(mlp())

        def step() -> None:
            case.optimizer.zero_grad()
            for _ in range(pieces):
                (case.forward(case.driver.took(batch())) / pieces).backward()
            case.optimizer.step()

        step()
        return case.driver.look(step).at("forward_end")["activations"]

    assert held(8) == held(1)


def test_sparse_gradients_are_indices_and_values() -> None:
    model = nn.Embedding(50, 6, sparse=True)
    case = Case(model, torch.optim.SparseAdam(model.parameters()), lambda x: model(torch.tensor([1, 4, 4])).mean())
    seen = case.seen()
    assert seen.at("backward_end")["gradients"] == 3 * 8 + 3 * 6 * 4


def test_optimizer_state_is_not_what_its_step_needs_for_a_moment() -> None:
    model = mlp()
    seen = Case(model, torch.optim.Adam(model.parameters(), foreach=True)).seen()
    state = 2 * PARAMETERS + 4 * 4
    for moment in ("forward_end", "step_end", "peak"):
        assert seen.at(moment)["optimizer_state"] == state
    assert seen.memory("peak")["where"]["phase"] == "optimizer"
    assert seen.at("peak")["temporaries"] >= PARAMETERS  # foreach's list of denominators, at the least
    assert seen.at("step_end")["temporaries"] == 0


def test_inputs_and_what_comes_of_them_alone() -> None:
    model = mlp()
    labels = torch.randint(0, OUT, (B,))

    def forward(x: Any) -> Any:
        x = (x - 0.5) / 2  # normalised by hand, outside of any module: two more of its size, one of them short-lived
        return functional.cross_entropy(model(x), labels)

    case = Case(model, forward=forward)
    case.driver.took = lambda pair: pair if case.driver._look is None else _told(case.driver, pair, labels)
    seen = case.seen()
    assert seen.at("forward_end")["inputs"] == 2 * 4 * B * IN + 8 * B
    assert seen.at("forward_end")["other_tensors"] == 0


def _told(driver: Driver, x: Any, labels: Any) -> Any:
    assert driver._look is not None
    driver._look.loaded((x, labels))
    return x


def test_inputs_without_a_loader_are_what_forward_reads() -> None:
    model, x, y = mlp(), batch(), torch.randint(0, OUT, (B,))
    case = Case(model, forward=lambda _: functional.cross_entropy(model(x), y))
    case.driver.took = lambda given: given
    seen = case.seen()
    assert seen.at("forward_end")["inputs"] == 4 * B * IN + 8 * B


def test_inputs_without_a_loader_may_be_made_in_the_step() -> None:
    model = mlp()

    def forward(_: Any) -> Any:
        x, unused = torch.randn(B, IN), torch.zeros(17)
        y = (torch.rand(B) * OUT).long()
        loss = functional.cross_entropy(model(x * 2), y)
        del unused
        return loss

    case = Case(model, forward=forward)
    case.driver.took = lambda given: given
    # The doubled batch, which the first layer keeps, and the labels; the batch itself died with nobody to hold it.
    assert case.seen().at("forward_end")["inputs"] == 4 * B * IN + 8 * B


def test_what_was_there_before_and_is_read_beside_a_batch_is_other() -> None:
    model, mask = mlp(), torch.ones(B, OUT)
    case = Case(model, forward=lambda x: (model(x) + mask).mean())
    seen = case.seen()
    assert seen.at("forward_end")["other_tensors"] == 4 * B * OUT


def test_activations_saved_and_only_referenced() -> None:
    model = mlp()
    kept: list[Any] = []

    def forward(x: Any) -> Any:
        kept[:] = [model(x)]
        return kept[0].square().mean()

    seen = Case(model, forward=forward).seen()
    # Tanh's output (saved), the logits (saved by square, and held here), the mean. square's own result died.
    assert seen.at("forward_end")["activations"] == 4 * B * HIDDEN + 4 * B * OUT + LOSS
    assert seen.at("step_end")["activations"] == 4 * B * OUT


def test_what_forward_does_not_keep_is_temporary() -> None:
    model = mlp()
    seen = Case(model, forward=lambda x: model(x).exp().detach().sum() + model(x).mean()).seen()
    assert seen.at("forward_end")["temporaries"] == 0
    assert seen.row("1")["born"] == 3 * 4 * B * HIDDEN  # two forwards, and its gradient in one backward


def test_views_in_place_and_detach_make_no_storage() -> None:
    model = nn.Sequential(nn.Linear(IN, HIDDEN), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(HIDDEN, OUT))

    def forward(x: Any) -> Any:
        logits = model(x.view(B, IN))
        logits.detach().add_(1).sub_(1)
        return logits.t().mean()

    seen = Case(model, forward=forward).seen()
    assert seen.at("forward_end")["activations"] == 4 * B * HIDDEN + LOSS
    assert seen.row("1")["born"] == 4 * B * HIDDEN  # its gradient; in forward it wrote into the layer's output


@pytest.mark.parametrize("reentrant", [False, True])
def test_recomputed_activations_are_told_apart(reentrant: bool) -> None:
    model = mlp()
    case = Case(
        model,
        forward=lambda x: checkpoint(model, x.requires_grad_(), use_reentrant=reentrant).square().mean(),
    )
    seen = case.seen()
    assert seen.at("forward_end")["activations"] == 4 * B * OUT + LOSS
    assert seen.row("1")["activations"] == 0
    assert seen.row("1")["recomputed"] == 4 * B * HIDDEN
    assert any(mark["name"] == "recompute" for mark in seen.one("trace")["marks"])


def test_gradients_of_activations_are_temporary() -> None:
    seen = Case(nn.Sequential(nn.Linear(IN, 100), nn.Tanh(), nn.Tanh(), nn.Linear(100, OUT))).seen()
    assert seen.memory("peak")["where"]["phase"] == "backward"
    assert seen.at("peak")["temporaries"] >= 4 * B * 100


def test_a_storage_that_is_resized_counts_with_its_new_size() -> None:
    model = mlp()
    scratch = torch.empty(0)

    def forward(x: Any) -> Any:
        scratch.data = torch.empty(10)
        scratch.resize_(1000)
        scratch.untyped_storage().resize_(4 * 2000)
        return model(x).mean()

    seen = Case(model, forward=forward).seen()
    assert seen.at("forward_end")["activations"] == 4 * 2000 + 4 * B * HIDDEN + LOSS


def test_autocasts_copies_of_the_weights_are_activations() -> None:
    model = mlp()

    def forward(x: Any) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return model(x).float().mean()

    seen = Case(model, forward=forward).seen()
    assert seen.at("forward_end")["parameters"] == PARAMETERS
    row = seen.row("2")
    assert row["activations"] >= 2 * HIDDEN * OUT  # in bfloat16
    assert seen.at("step_end")["activations"] == 0


def test_buckets_that_gradients_are_copied_into_are_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    from memtop.probe import deep

    monkeypatch.setattr(deep, "_is_distributed", lambda: True)
    model = nn.Linear(IN, OUT, bias=False)
    bucket = torch.zeros(IN * OUT)

    def copy(one: Any) -> None:
        bucket.view_as(one).copy_(one.grad)

    model.weight.register_post_accumulate_grad_hook(copy)
    seen = Case(model).seen()
    assert seen.at("backward_end")["gradients"] == 2 * 4 * IN * OUT


def test_modules_and_lines_each_sum_to_the_peak() -> None:
    model = mlp()
    seen = Case(model, torch.optim.Adam(model.parameters())).seen()
    assert sum(row["at_peak"] for row in seen.one("modules")["rows"]) == seen.peak
    assert sum(row["at_peak"] for row in seen.one("lines")["rows"]) == seen.peak
    for row in seen.one("lines")["rows"]:
        assert sum(one["bytes"] for one in row["tensors"]) == row["at_peak"]
    trace = seen.one("trace")
    assert max(sum(point) for point in trace["points"]) == sum(trace["points"][trace["peak"]]) == seen.peak


def test_a_line_is_the_persons_own() -> None:
    seen = Case(mlp()).seen()
    rows = [row for row in seen.one("lines")["rows"] if row["file"]]
    assert {row["file"] for row in rows} <= {__file__, *(row["file"] for row in rows if "deep_driver" in row["file"])}
    texts = {row["phase"]: row["text"] for row in rows}
    assert "backward()" in texts["backward"]


def test_flops_are_those_of_the_layers() -> None:
    seen = Case(mlp()).seen()
    assert seen.row("0")["flops"] == 2 * B * IN * HIDDEN
    assert seen.row("2")["flops"] == 2 * B * HIDDEN * OUT
    assert seen.row("1")["flops"] is None
    assert seen.row("2")["output"] == [B, OUT]


def test_what_a_layer_hands_on_is_its_first_result() -> None:
    """A normalisation's statistics and a pooling's indices follow it."""
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.MaxPool2d(2), torch.nn.Flatten()
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    driver = Driver(optimizer, modules=modules_of(model))

    def step() -> None:
        optimizer.zero_grad()
        model(torch.randn(2, 3, 8, 8)).sum().backward()
        optimizer.step()

    seen = driver.look(step)
    outputs = [seen.row(str(index))["output"] for index in range(4)]
    assert outputs == [[2, 4, 8, 8], [2, 4, 8, 8], [2, 4, 4, 4], [2, 64]]


def test_gradients_and_state_of_a_shared_parameter_belong_to_the_first_module() -> None:
    model = nn.Sequential(nn.Linear(IN, IN), nn.Tanh(), nn.Linear(IN, IN))
    model[2].weight = model[0].weight
    seen = Case(model, torch.optim.Adam(model.parameters())).seen()
    first, last = seen.row("0"), seen.row("2")
    assert (first["gradient_bytes"], last["gradient_bytes"]) == (4 * (IN * IN + IN), 4 * IN)
    assert first["state_bytes"] - last["state_bytes"] == 2 * 4 * IN * IN + 4


def test_what_the_graph_still_holds_of_an_earlier_step_is_activation() -> None:
    model = nn.Linear(IN, HIDDEN)
    state = torch.zeros(B, HIDDEN)
    case = Case(model, forward=lambda x: (model(x) * state).mean())  # multiplying saves it
    assert case.seen().at("forward_end")["activations"] == 4 * B * HIDDEN + LOSS


def test_recomputation_without_modules() -> None:
    weight = nn.Parameter(torch.randn(IN, HIDDEN))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    driver = Driver(optimizer, modules=[])

    def step() -> None:
        optimizer.zero_grad()
        x = driver.took(batch())
        checkpoint(lambda y: (y @ weight).tanh().exp(), x, use_reentrant=False).mean().backward()
        optimizer.step()

    step()
    phases = {row["phase"]: row for row in driver.look(step).one("lines")["rows"]}
    assert phases["recompute"]["born"] == 3 * 4 * B * HIDDEN


class Again(torch.autograd.Function):
    """A person's own checkpoint: backward runs the module again."""

    @staticmethod
    def forward(ctx: Any, layer: Any, x: Any, _: Any) -> Any:
        ctx.layer = layer
        ctx.save_for_backward(x)
        return layer(x)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        with torch.enable_grad():
            again = ctx.layer(ctx.saved_tensors[0])
        torch.autograd.backward(again, grads[0])
        return None, None, None


def test_a_module_that_backward_runs_is_recomputation() -> None:
    model = nn.Sequential(nn.Linear(IN, HIDDEN), nn.Tanh())
    case = Case(model, forward=lambda x: Again.apply(model, x, model[0].weight).mean())
    assert case.seen().row("1")["recomputed"] == 4 * B * HIDDEN


def test_what_a_recomputation_does_not_keep_is_temporary() -> None:
    model = nn.Linear(IN, HIDDEN)
    case = Case(
        model, forward=lambda x: checkpoint(lambda y: (model(y) * 2 + 1).tanh(), x, use_reentrant=False).exp().mean()
    )
    rows = case.seen().one("modules")["rows"]
    assert sum(row["recomputed"] for row in rows) == 4 * B * HIDDEN  # tanh's output; three more were made and died


def test_a_storage_that_grows_and_shrinks_between_two_moments_is_in_the_peak() -> None:
    model = mlp()

    def forward(x: Any) -> Any:
        scratch = torch.empty(0)
        scratch.resize_(50_000)
        scratch.untyped_storage().resize_(0)
        return model(x).mean()

    seen = Case(model, forward=forward).seen()
    assert 200_000 <= seen.at("peak")["temporaries"] <= 200_000 + 2 * 4 * B * HIDDEN
    assert seen.at("forward_end")["temporaries"] == 0


def test_the_persons_code_is_theirs_wherever_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    from types import SimpleNamespace

    from memtop.probe import places

    installed = places._LIBRARIES[0] + "their/train.py"
    frame = SimpleNamespace(f_code=compile("1", installed, "exec"), f_lasti=0, f_lineno=3, f_back=None)
    assert places.Places().line(frame) == -1
    monkeypatch.setattr(sys.modules["__main__"], "__file__", installed, raising=False)
    theirs = places.Places()
    assert theirs.known[theirs.line(frame)] == (installed, 3, "<module>")
