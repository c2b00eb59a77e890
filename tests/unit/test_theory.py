"""Closed forms against numbers worked out by hand, and the arithmetic that manifests are written in."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtop.launcher import manifests
from memtop.model.expressions import ExpressionError, evaluate, written_out
from memtop.model.snapshot import Theory
from memtop.model.theory import closed_forms


def theory(name: str, device: str | None = "cpu", **given: object) -> dict[str, Theory]:
    manifest = manifests.load(name)
    settings = manifests.resolve(manifest, given)
    return closed_forms(
        parameters=1,
        trainable=1,
        buffers=None,
        itemsize=4,
        parameter_tensors=None,
        settings=settings,
        formulas=manifest.theory,
        device=device,
    )


def in_bytes(name: str, device: str | None = "cpu", **given: object) -> dict[str, int]:
    return {category: each.bytes for category, each in theory(name, device, **given).items()}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mlp-mnist", (407_080, 0, 814_176, 201_216, 35_336)),
        ("mlp-cifar", (1_578_536, 0, 3_157_088, 786_944, 35_336)),
        ("cnn", (456_744, 1_816, 913_544, 786_944, 40_374_536)),
        ("deep-stack", (440_000, 0, 888_000, 1_536, 1_280_008)),
        # 2 x 80,097,536 and 32 counters; 8 images and labels; per image 1,212,416 bytes of the convolutions' outputs,
        # 368,640 of the poolings' outputs and indices, 4,096 of the last one's indices, 2,048 of log-softmax.
        ("tensor-tracker", (80_097_536, 0, 160_195_200, 98_368, 8 * (1_212_416 + 368_640 + 4_096 + 2_048) + 8)),
    ],
)
def test_each_scenario_by_default(name: str, expected: tuple[int, ...]) -> None:
    found = in_bytes(name)
    assert tuple(found[c] for c in ("parameters", "buffers", "optimizer_state", "inputs", "activations")) == expected
    assert found["gradients"] == found["parameters"]


@pytest.mark.parametrize(
    ("mode", "activations"),
    [("none", 1_280_008), ("halves", 3_848), ("segments=2", 641_288), ("segments=32", 89_608), ("sqrt", 89_608)],
)
def test_checkpointing_keeps_what_the_segments_need(mode: str, activations: int) -> None:
    assert in_bytes("deep-stack", checkpoint=mode)["activations"] == activations


@pytest.mark.parametrize(("optimizer", "state"), [("sgd", 0), ("momentum", 407_080), ("adam", 814_176)])
def test_optimizer_state(optimizer: str, state: int) -> None:
    assert in_bytes("mlp-mnist", optimizer=optimizer)["optimizer_state"] == state


def test_step_counters_of_adam_are_not_on_the_gpu() -> None:
    assert in_bytes("mlp-mnist", "cuda:0")["optimizer_state"] == 2 * 407_080


def test_what_has_no_closed_form_is_left_out() -> None:
    assert "activations" not in in_bytes("cnn", precision="bf16")
    assert "optimizer_state" not in in_bytes("cnn", device=None), (
        "device auto: where the step counters are is not known"
    )
    assert "activations" not in in_bytes("deep-stack", checkpoint="segments=0")


def test_without_a_manifest_what_was_counted_is_used() -> None:
    settings = {"optimizer": "adamw", "device": "cpu"}
    found = closed_forms(
        parameters=100,
        trainable=60,
        buffers=8,
        itemsize=2,
        parameter_tensors=3,
        settings=settings,
        formulas={},
    )
    assert {category: each.bytes for category, each in found.items()} == {
        "parameters": 200,
        "gradients": 120,
        "optimizer_state": 252,
        "buffers": 8,
    }


def test_reasons_carry_the_numbers() -> None:
    found = theory("mlp-cifar", batch_size=128)
    assert found["parameters"].why == "394,634 × 4 B"
    assert found["activations"].why == "128 × (128 + 10) × 4 + 4 + 4"
    halves = theory("deep-stack", checkpoint="halves")["activations"].why
    assert halves == "32 × 10 × 4 × 3 + 4 + 4"


@pytest.mark.parametrize(
    "formula",
    [
        "__import__('os')",
        "open('x')",
        "a.b",
        "a[0]",
        "[1, 2]",
        "lambda: 1",
        "2 ** 1000",
        "'a' * 1000000000",
        "1 / 0",
        "sqrt(-1)",
        "nowhere + 1",
        "1 +",
        "max(key=1)",
        "1 < 2 < 3",
        "a := 1",
        "b'x'",
    ],
)
def test_nothing_but_arithmetic_is_computed(formula: str) -> None:
    with pytest.raises(ExpressionError):
        evaluate(formula, {"a": 1})


NUMBERS = st.integers(-50, 50)


def formulas() -> st.SearchStrategy[str]:
    leaves = NUMBERS.map(str) | st.sampled_from(["a", "b"])
    joined = lambda inner: (  # noqa: E731
        st.tuples(inner, st.sampled_from(["+", "-", "*", "//", "<", "=="]), inner).map(lambda t: f"({' '.join(t)})")
        | st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})")
        | st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda t: f"{t[0]}({t[1]}, {t[2]})")
        | inner.map(lambda each: f"ceil(sqrt(abs({each})))")
    )
    return st.recursive(leaves, joined, max_leaves=12)


@given(formulas(), NUMBERS, NUMBERS)
def test_arithmetic_is_pythons(formula: str, a: int, b: int) -> None:
    allowed = {"min": min, "max": max, "abs": abs, "ceil": math.ceil, "sqrt": math.sqrt}
    try:
        expected = eval(formula, {"__builtins__": {}}, {**allowed, "a": a, "b": b})
    except ZeroDivisionError:
        with pytest.raises(ExpressionError):
            evaluate(formula, {"a": a, "b": b})
    else:
        assert evaluate(formula, {"a": a, "b": b}) == expected


@given(formulas(), st.integers(1, 50), st.integers(1, 50))
def test_what_is_written_out_has_the_same_value(formula: str, a: int, b: int) -> None:
    names = {"a": a, "b": b}
    try:
        value = evaluate(formula, names)
        shown = written_out(formula, names)
    except ExpressionError:
        return
    assert evaluate(shown.replace("×", "*").replace("÷", "//"), {}) == value
