"""What "what if" says, held against the same training with that setting for real, and against sums done by hand."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

torch = pytest.importorskip("torch", reason="the probe lives in a process that has torch")

from torch.utils.checkpoint import checkpoint_sequential  # noqa: E402

from memtop.model.deep_records import Mark, ModulesRecord, TraceRecord  # noqa: E402
from memtop.model.whatif import Line, whatif  # noqa: E402
from memtop.model.whatif_facts import Facts, Layer, Point, facts  # noqa: E402
from memtop.model.whatif_layers import segments  # noqa: E402
from tests.unit.step_files import Optimizer, adam, cnn, looked, mlp  # noqa: E402

CATEGORIES = ("parameters", "buffers", "gradients", "optimizer_state", "inputs", "activations", "temporaries")


def sgd(parameters: Any) -> Any:
    return torch.optim.SGD(parameters, lr=1e-3)


def momentum(parameters: Any) -> Any:
    return torch.optim.SGD(parameters, lr=1e-3, momentum=0.9)


def adamw(parameters: Any) -> Any:
    return torch.optim.AdamW(parameters, lr=1e-3)


def told(build: Any, optimizer: Optimizer, batch: int, limit: int | None = None) -> dict[str, Line]:
    """The lines of a training of this model, by name."""
    model = build()
    _, seen = looked(model, batch, optimizer)
    common = {"t": 0.0, "rank": 0}
    known = facts(
        msgspec.convert(seen.one("trace") | common, TraceRecord),
        msgspec.convert(seen.one("modules") | common, ModulesRecord),
        batch=batch,
        trainable=sum(one.nbytes for one in model.parameters()),
        optimizers=[type(optimizer(model.parameters())).__name__],
        limit=limit,
    )
    return {line.name: line for line in whatif(known)}


@pytest.mark.parametrize("build", [mlp, cnn])
@pytest.mark.parametrize("start", [sgd, adam])
def test_another_optimizer_is_what_it_is(build: Any, start: Optimizer) -> None:
    lines = told(build, start, 32)
    for name, other in {"SGD": sgd, "SGD with momentum": momentum, "Adam": adam, "AdamW": adamw}.items():
        measured = looked(build(), 32, other)[1].peak
        assert (lines["as it is"] if other is start else lines[name]).peak == pytest.approx(measured, rel=0.001)
    assert lines["as it is"].now
    assert lines["8-bit Adam"].saves > 0 if start is adam else lines["8-bit Adam"].saves < 0


def test_as_it_is_is_what_was_measured() -> None:
    _, seen = looked(cnn(), 32)
    line = told(cnn, adam, 32)["as it is"]
    assert (line.peak, line.saves, line.phase) == (seen.peak, 0, "backward")


def test_checkpointing_is_what_it_is() -> None:
    model = cnn()
    _, seen = looked(model, 32, forward=lambda x: checkpoint_sequential(list(model), 3, x, use_reentrant=False))
    line = told(cnn, adam, 32)["checkpointing"]
    assert "3 segments of 10 layers" in line.rests_on
    assert line.peak == pytest.approx(seen.peak, rel=0.02)
    assert line.saves > 0


def test_half_precision_is_what_it_is() -> None:
    model = cnn()

    def cast(x: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return model(x).float()

    measured = looked(model, 32, forward=cast)[1].peak
    assert told(cnn, adam, 32)["bf16 autocast"].peak == pytest.approx(measured, rel=0.05)


def test_the_largest_batch_of_a_line_takes_the_limit() -> None:
    limit = 4 * looked(cnn(), 32)[1].peak
    lines = told(cnn, adam, 32, limit)
    for name, optimizer in (("as it is", adam), ("SGD", sgd)):
        batch = lines[name].max_batch
        assert batch is not None
        assert 0.98 * limit < looked(cnn(), batch, optimizer)[1].peak <= 1.001 * limit


def test_a_model_without_images_has_no_line_for_their_side() -> None:
    lines = told(mlp, sgd, 8)
    assert "inputs at half the side" not in lines
    assert "in-place activations" in lines
    assert all(line.rests_on for line in lines.values())


def point(phase: str, **sizes: int) -> Point:
    return Point(phase, dict.fromkeys(CATEGORIES, 0) | sizes)


def by_hand(limit: int | None) -> Facts:
    """100 bytes of weights. Forward keeps 400 of activations; backward ends with gradients and 50 of one of them."""
    points = (
        point("forward", parameters=100, inputs=40, activations=400),
        replace(point("backward", parameters=100, inputs=40, activations=300, gradients=50, temporaries=80), grown=50),
        point("optimizer", parameters=100, inputs=40, gradients=100),
    )
    return Facts(
        batch=10,
        points=points,
        layers=(Layer("a", "Linear", 400, 100, 100),),
        trainable=100,
        optimizer="SGD",
        float_inputs=1.0,
        limit=limit,
        foreach=False,
        shares={"forward": 1.0, "backward": 1.0, "optimizer": 0.0},
    )


def test_sums_by_hand() -> None:
    """The peak is in backward: 100 + 40 + 300 + 50 + 80 = 570, of which 42 a sample."""
    lines = {line.name: line for line in whatif(by_hand(1000))}
    assert (lines["as it is"].peak, lines["as it is"].max_batch) == (570, 20)
    assert (lines["SGD with momentum"].peak, lines["SGD with momentum"].saves) == (670, -100)
    assert lines["SGD with momentum"].max_batch == 17
    # Adam: 200 of state in all points, and two of the largest tensor in its step.
    assert (lines["Adam"].peak, lines["Adam"].max_batch) == (770, 15)
    # The sum of the gradients, and a new one of 50 beside it: 250 that stay, and 21 a sample.
    parts = lines["2 accumulated parts"]
    assert (parts.peak, parts.phase, parts.max_batch) == (100 + 20 + 150 + 150 + 40, "backward", 34)
    on_cuda = {line.name: line for line in whatif(replace(by_hand(None), foreach=True, trainable=1000))}
    assert (on_cuda["Adam"].peak, on_cuda["Adam"].phase) == (100 + 40 + 100 + 2000 + 1000, "optimizer")
    assert on_cuda["Adam"].max_batch is None


def test_not_even_one_sample_fits() -> None:
    lines = {line.name: line for line in whatif(by_hand(399))}
    assert lines["Adam"].max_batch == 0
    assert lines["as it is"].max_batch == 5


def test_a_forecast_says_how_much_of_the_temporaries_grows() -> None:
    """One that leaves them 4 of 8 bytes a sample."""

    class Backward:
        phase, bytes_per_sample = "backward", 34 + 4

    trace = TraceRecord(
        t=0.0,
        rank=0,
        device="cpu",
        step=2,
        seconds=1.0,
        columns=list(CATEGORIES),
        marks=[Mark(at=0.0, name="backward")],
        times=[0.0, 0.1, 0.2],
        points=[[100, 0, 50, 0, 40, 300, 80], [100, 0, 75, 0, 40, 200, 0], [100, 0, 75, 0, 40, 100, 0]],
        peak=0,
        changes=3,
    )
    modules = ModulesRecord(t=0.0, rank=0, device="cpu", step=2, rows=[], folded=0)
    assert facts(trace, modules, batch=10, trainable=100, forecast=[Backward()]).shares == {"backward": 0.5}
    known = facts(trace, modules, batch=10, trainable=100)
    assert known.shares == {"backward": 1.0}
    assert [point.grown for point in known.points] == [0, 25, 0]
    later = replace(trace, marks=[*trace.marks, Mark(at=0.3, name="optimizer"), Mark(at=0.4, name="end")])
    last = facts(later, modules, batch=10, trainable=100).points[-1]
    assert (last.phase, last.bytes["activations"]) == ("optimizer", 100), "a phase in which nothing came or went"


def test_segments_are_cut_where_checkpoint_sequential_cuts() -> None:
    layers = [Layer("", "Model", 0, None, 0)] + [Layer(f"row.{n}", "Linear", 40, 10, 4) for n in range(10)]
    found = segments(layers)
    assert found is not None
    assert (found.parent, found.count, found.activations, found.boundaries) == ("row", 3, (120, 120, 160), (40, 40))
    assert [found.kept(size, True) for size in (400, 240, 120, 60)] == [80 + 160, 40 + 120, 120, 60]
    assert [found.kept(size, False) for size in (400, 240, 120)] == [80 + 160, 40, 0]
