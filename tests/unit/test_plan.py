"""Plans for a device that is not here: held against hand counts, the tests' stand-in allocator, and torch itself."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

torch = pytest.importorskip("torch", reason="the probe lives in a process that has torch")

from memtop.model.caching import ConfigError  # noqa: E402
from memtop.model.caching.config import MIB  # noqa: E402
from memtop.model.extrapolate import at_batch  # noqa: E402
from memtop.model.on_cuda import CUBLAS, CUBLAS_HOPPER, on_cuda  # noqa: E402
from memtop.model.plan import Context, Plan, largest, plan  # noqa: E402
from memtop.model.step_events import Birth, StepEvents  # noqa: E402
from tests.unit.cuda_allocator import Native  # noqa: E402
from tests.unit.step_files import cnn, looked, mlp  # noqa: E402

NOTHING = Context(low=0, high=0)
PHASES = ["held", "data", "forward", "backward", "recompute", "optimizer"]
CATEGORIES = ["parameters", "gradients", "optimizer_state", "inputs", "activations", "temporaries"]


def made(
    births: list[tuple[str, str, int]], held: list[int], changes: list[tuple[int, int]], **moments: int
) -> StepEvents:
    """A step written by hand: category, phase and bytes of each storage."""
    rows = [Birth(CATEGORIES.index(kind), PHASES.index(phase), 0, 0, 0, size, [1]) for kind, phase, size in births]
    names = {"operators": ["aten.relu.default"], "modules": ["layer"], "dtypes": ["torch.float32"]}
    facts = {"v": 1, "device": "cpu", "step": 2, "rank": 0, "pid": 1, "played": False}
    return StepEvents(
        **facts, **names, categories=CATEGORIES, phases=PHASES, births=rows, held=held, changes=changes, moments=moments
    )


def tiny() -> StepEvents:
    """30 MiB of weights; activations of 40 MiB become 30 MiB of gradients."""
    births = [
        ("parameters", "held", 30 * MIB),
        ("gradients", "held", 30 * MIB),
        ("activations", "forward", 40 * MIB),
        ("gradients", "backward", 30 * MIB),
    ]
    return made(
        births, [0, 1], [(1, 0), (2, 40 * MIB), (3, 30 * MIB), (2, 0)], forward_end=2, backward_end=4, step_end=4
    )


def test_a_step_counted_by_hand() -> None:
    """The gradients of the last step make room for nothing larger, and are used again by those of this one."""
    found = plan(tiny(), context=NOTHING, optimizers=["SGD"], workspace=0)
    assert (found.requested, found.allocated, found.reserved, found.used) == (100 * MIB,) * 4
    assert found.by_step == (100 * MIB,) * 3
    assert (found.retries, found.fits, found.oom) == (0, None, None)


def test_the_optimizers_state_comes_at_the_end_of_the_first_step() -> None:
    births = [
        ("parameters", "held", 30 * MIB),
        ("optimizer_state", "held", 60 * MIB),
        ("activations", "forward", 50 * MIB),
    ]
    events = made(births, [0, 1], [(2, 50 * MIB), (2, 0)], forward_end=1, backward_end=2, step_end=2)
    found = plan(events, context=NOTHING, optimizers=["SGD"], workspace=0)
    assert found.by_step == (140 * MIB, 140 * MIB, 140 * MIB)
    less = plan(replace(events, moments={}), limit=139 * MIB, context=NOTHING, workspace=0)
    assert less.oom is not None
    assert less.oom.step == 1


def test_out_of_memory_at_the_second_step_is_foretold() -> None:
    """The first step fits, since the optimizer has no state yet: activations are gone when it comes."""
    births = [
        ("parameters", "held", 30 * MIB),
        ("optimizer_state", "held", 60 * MIB),
        ("activations", "forward", 70 * MIB),
    ]
    events = made(births, [0, 1], [(2, 70 * MIB), (2, 0)], forward_end=1, backward_end=2, step_end=2)
    found = plan(events, limit=158 * MIB, context=NOTHING, optimizers=["SGD"], workspace=0)
    assert found.fits == "no"
    assert found.oom is not None
    assert (found.oom.step, found.oom.phase, found.oom.operator, found.oom.module) == (
        2,
        "forward",
        "aten.relu",
        "layer",
    )
    assert found.oom.shortage.requested == 70 * MIB


def test_it_fits_perhaps_where_only_the_upper_end_does_not() -> None:
    context = Context(low=100 * MIB, high=300 * MIB)
    fits = {
        limit: plan(tiny(), limit * MIB, context=context, optimizers=["SGD"], workspace=0).fits
        for limit in (299, 300, 399, 400)
    }
    assert fits == {299: "no", 300: "perhaps", 399: "perhaps", 400: "yes"}
    capped = plan(tiny(), 100 * MIB, context=context, optimizers=["SGD"], workspace=0, capped=True)
    assert capped.fits == "yes", "a cap is of the allocator alone"


def test_settings_of_the_allocator_count() -> None:
    assert plan(tiny(), conf="roundup_power2_divisions:2", context=NOTHING, workspace=0).reserved > 100 * MIB
    assert plan(tiny(), conf="expandable_segments:True", context=NOTHING, workspace=0).reserved == 100 * MIB
    with pytest.raises(ConfigError):
        plan(tiny(), conf="expandable_segments:yes")


def test_matrix_products_take_a_workspace_in_each_thread() -> None:
    events, _ = looked(mlp(), 16)
    without, ours, hopper = (
        plan(events, None, "expandable_segments:True", NOTHING, optimizers=["Adam"], workspace=size)
        for size in (0, CUBLAS, CUBLAS_HOPPER)
    )
    assert ours.allocated == without.allocated + 2 * CUBLAS
    assert hopper.allocated == without.allocated + 2 * CUBLAS_HOPPER


@pytest.mark.parametrize("build", [mlp, cnn])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["Adam", "AdamW", "SGD"])
def test_the_foreach_road_takes_what_torch_takes(build: Any, decay: float, kind: str) -> None:
    """CUDA's default, run here on the CPU: its peak is what the ordinary road's step is turned into."""

    def optimizer(foreach: bool) -> Any:
        more = {"lr": 1e-3, "weight_decay": decay, "foreach": foreach}
        return lambda parameters: getattr(torch.optim, kind)(parameters, **more)

    ordinary, _ = looked(build(), 8, optimizer(False))
    lists, _ = looked(build(), 8, optimizer(True))
    guessed, notes = on_cuda(ordinary, [kind])
    state = [lists.births[number] for number in lists.held if lists.category(number) == "optimizer_state"]
    counters = sum(one.bytes for one in state if not one.shape)
    assert notes == []
    assert guessed.peak == lists.peak - counters


def test_an_optimizer_that_is_not_known_is_said_to_be() -> None:
    events, _ = looked(mlp(), 8, lambda parameters: torch.optim.Adagrad(parameters))
    _, notes = on_cuda(events, ["Adagrad"])
    assert len(notes) == 1
    assert "Adagrad" in notes[0]
    assert on_cuda(replace(events, device="cuda:0"), None) == (replace(events, device="cuda:0"), [])


@pytest.mark.parametrize("build", [mlp, cnn])
def test_the_stand_in_allocator_gives_the_same_peak(build: Any) -> None:
    """The steady step, from what is held on, through the other model of the allocator: the same peak of `allocated`."""
    events, _ = looked(build(), 32)
    step, _ = on_cuda(events, ["Adam"])
    other, blocks = Native(), {}
    for number in step.held:
        blocks[number] = other.malloc(step.births[number].bytes)
    for number, size in step.changes:
        if size:
            blocks[number] = other.malloc(size)
        elif number in blocks:  # Not one of no bytes: it has no block.
            other.free(blocks.pop(number))
    found = plan(events, context=NOTHING, optimizers=["Adam"], workspace=0)
    # Which block a tensor gets, and with it what can't be split off, depends on what was there before.
    assert found.allocated == pytest.approx(other.peak["allocated"], rel=0.03)
    assert found.requested <= found.allocated <= found.reserved


def test_the_largest_batch_is_the_last_that_fits() -> None:
    steps = [(size, looked(cnn(), size)[0]) for size in (16, 32)]

    def at(batch: int) -> Plan:
        return plan(at_batch(steps[0], steps[1], batch), 2048 * MIB, optimizers=["Adam"])

    found = largest(at, 1, 1 << 16)
    assert found is not None
    assert (at(found).fits, at(found + 1).fits) == ("yes", "perhaps")
    eights = largest(at, 1, 1 << 16, multiple=8)
    assert eights == found // 8 * 8
    assert largest(at, 1 << 15, 1 << 16) is None
    assert largest(at, 5, 6, multiple=8) is None


def test_kept_gradients_are_there_from_the_first_backward_on() -> None:
    births = [("parameters", "held", 30 * MIB), ("gradients", "held", 30 * MIB), ("activations", "forward", 90 * MIB)]
    events = made(births, [0, 1], [(2, 90 * MIB), (2, 0)], forward_end=1, backward_end=2, step_end=2)
    found = plan(events, context=NOTHING, optimizers=["SGD"], workspace=0)
    assert found.by_step == (150 * MIB,) * 3
