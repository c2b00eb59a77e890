"""Which storage is which category, in this process's own torch, against closed forms and saved-tensor hooks."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the probe lives in a process that has torch")

from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

from memtop.probe.inputs import Inputs  # noqa: E402
from memtop.probe.tracker import Tracker  # noqa: E402

LOSS = 4


class Scene:
    """A tracker that knows these modules and optimizers."""

    def __init__(self, *modules: Any, optimizers: tuple[Any, ...] = ()) -> None:
        self.inputs = Inputs()
        self.tracker = Tracker(self.inputs)
        self.tracker._modules = [weakref.ref(one) for root in modules for one in root.modules()]
        for one in optimizers:
            assert self.tracker.saw(one)

    def forward(self, loss: Any) -> dict[str, int]:
        return self.tracker.forward_ended([loss]).bytes.get("cpu", {})

    def later(self) -> dict[str, int]:
        return self.tracker.later().bytes.get("cpu", {})


def saved_by_hooks(run: Callable[[], Any], known: list[Any]) -> int:
    """What autograd saves while `run` runs, by torch's own hooks: storages once, `known` ones left out."""
    kept: dict[int, Any] = {}

    def pack(tensor: Any) -> Any:
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = run()
    kept[loss.untyped_storage()._cdata] = loss.untyped_storage()
    ours = {one.untyped_storage()._cdata for one in known}
    return sum(storage.nbytes() for key, storage in kept.items() if key not in ours)


def test_tied_weights_views_and_transposes_count_once() -> None:
    model = nn.Sequential(nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False))
    model[1].weight = model[0].weight
    model.register_parameter("view", nn.Parameter(model[0].weight.detach().view(36)[:5]))
    model.register_parameter("across", nn.Parameter(model[0].weight.detach().t()))
    model.register_buffer("shared", model[0].weight.detach()[0])
    model.register_buffer("own", torch.zeros(5))
    assert Scene(model).later() == {"parameters": 144, "buffers": 20}


def test_parameters_in_a_plain_list_are_found_by_their_optimizer() -> None:
    weights = [nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(2), requires_grad=False)]
    optimizer = torch.optim.Adam(weights)
    weights[0].sum().backward()
    optimizer.step()
    assert Scene(optimizers=(optimizer,)).later() == {"parameters": 24, "gradients": 16, "optimizer_state": 36}


def test_frozen_parameters_have_no_gradient() -> None:
    model = nn.Sequential(nn.Linear(3, 4).requires_grad_(False), nn.Linear(4, 1))
    model(torch.ones(2, 3)).sum().backward()
    assert Scene(model).later() == {"parameters": 64 + 20, "gradients": 20}


def test_sparse_gradients() -> None:
    model = nn.Embedding(100, 8, sparse=True)
    model(torch.tensor([1, 2, 5])).sum().backward()
    assert Scene(model).later() == {"parameters": 3200, "gradients": 3 * 8 + 3 * 8 * 4}


def test_a_batch_is_an_input_and_no_activation() -> None:
    model, x, y = nn.Linear(5, 3), torch.ones(4, 5), torch.zeros(4, dtype=torch.long)
    scene = Scene(model)
    scene.inputs.took((x, {"y": y}), 1)
    loss = nn.functional.cross_entropy(model(x), y)
    found = scene.forward(loss)
    assert found == {"parameters": 72, "inputs": 80 + 32, "activations": 4 * 3 * 4 + 4 + LOSS}
    assert (scene.inputs.samples, scene.inputs.shapes[0]) == (4, ((4, 5), "float32", 80))
    loss.backward()
    assert scene.later() == {"parameters": 72, "gradients": 72, "inputs": 80 + 32, "activations": LOSS}
    del x
    assert scene.later()["inputs"] == 32


@pytest.mark.parametrize("kind", ["transformer", "lstm", "convolutions", "save_on_cpu"])
def test_activations_are_what_torchs_hooks_see(kind: str) -> None:
    torch.manual_seed(0)
    models: dict[str, Any] = {
        "transformer": nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        "lstm": nn.LSTM(8, 8, batch_first=True),
        "convolutions": nn.Sequential(nn.Conv1d(5, 8, 3), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Flatten()),
        "save_on_cpu": nn.Sequential(nn.Linear(8, 8), nn.Tanh()),
    }
    model, x = models[kind], torch.randn(2, 5, 8)

    def run() -> Any:
        made = model(x)
        return (made[0] if isinstance(made, tuple) else made).pow(2).mean()

    known = [x, *model.parameters(), *model.buffers()]
    expected = saved_by_hooks(run, known)
    scene = Scene(model)
    scene.inputs.took(x, 1)
    if kind == "save_on_cpu":
        with torch.autograd.graph.save_on_cpu():
            loss = run()
    else:
        loss = run()
    assert scene.forward(loss)["activations"] == expected


def test_a_custom_function() -> None:
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x * 1)
            return x * x

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return 2 * ctx.saved_tensors[0] * grad

    weight = nn.Parameter(torch.ones(10))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scene = Scene(optimizers=(optimizer,))
    assert scene.forward(Square.apply(weight).sum()) == {"parameters": 40, "activations": 40 + LOSS}


def test_checkpoints_keep_their_inputs_and_are_not_run_again() -> None:
    layers, calls = nn.ModuleList(nn.Linear(10, 10) for _ in range(1000)), [0]

    def part(x: Any, start: int, end: int) -> Any:
        for layer in layers[start:end]:
            calls[0] += 1
            x = layer(x)
        return x

    x, y = torch.randn(32, 10), torch.zeros(32, dtype=torch.long)
    scene = Scene(layers)
    scene.inputs.took((x, y), 1)
    half = checkpoint(part, x, 0, 500, use_reentrant=False)
    loss = nn.functional.cross_entropy(part(checkpoint(part, half, 500, 999, use_reentrant=False), 999, 1000), y)
    del half
    assert calls == [1000]
    assert scene.forward(loss)["activations"] == 3_848
    assert calls == [1000]
    loss.backward()
    assert calls == [1999]
    assert not scene.tracker.notes


def test_nothing_is_kept_alive() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
    optimizer = torch.optim.Adam(model.parameters())
    scene = Scene(model, optimizers=(optimizer,))
    x = torch.ones(3, 4)
    scene.inputs.took(x, 1)
    hidden = model[1](model[0](x))
    loss = model[2](hidden).sum()
    assert scene.forward(loss)["activations"] == 3 * 4 * 4 + LOSS
    loss.backward()
    optimizer.step()
    scene.later()
    watched = [weakref.ref(one) for one in (model, optimizer, x, hidden, loss, model[0].weight)]
    del model, optimizer, x, hidden, loss
    gc.collect()
    assert [one() for one in watched] == [None] * len(watched)
    assert scene.later() == {}
    assert scene.tracker.blind


def test_a_persons_objects_are_as_they_were() -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())

    def saved() -> bytes:
        torch.save({"model": model, "state": optimizer.state_dict()}, into := io.BytesIO())
        return into.getvalue()

    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    before = (saved(), pickle.dumps(model), sorted(vars(model)), sorted(vars(optimizer)))
    scene = Scene(model, optimizers=(optimizer,))
    loss = model(torch.ones(1, 3)).sum()
    scene.tracker.scan()
    scene.forward(loss)
    scene.later()
    assert (saved(), pickle.dumps(model), sorted(vars(model)), sorted(vars(optimizer))) == before
    assert vars(copy.deepcopy(model)).keys() == vars(model).keys()


def test_a_scan_finds_the_modules_of_the_process() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    tracker = Tracker(Inputs())
    assert tracker.blind
    tracker.scan()
    assert not tracker.blind
    assert {id(one) for one in model.modules()} <= {id(one) for one in tracker.modules()}
