"""Closed forms: what a model and its settings say about memory, to be put beside what is measured.

A category for which there is no closed form is left out: nothing here is a guess.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from memtop.model.expressions import ExpressionError, Value, evaluate, written_out
from memtop.model.records import Setting
from memtop.model.snapshot import Theory

_STATES: Final = {"sgd": 0, "momentum": 1, "adam": 2, "adamw": 2}
"""How many numbers an optimizer keeps for each number it trains."""

_STEP_BYTES: Final = 4
"""Adam's and AdamW's `step`: one float32 scalar a parameter tensor, in host memory unless fused or capturable."""


def closed_forms(
    *,
    parameters: int,
    trainable: int,
    buffers: int | None,
    itemsize: int,
    parameter_tensors: int | None,
    settings: Mapping[str, Setting],
    formulas: Mapping[str, str],
    device: str | None = None,
) -> dict[str, Theory]:
    """The categories' bytes by closed form.

    `parameters` and `trainable` are numbers of elements of `itemsize` bytes, `buffers` bytes, `parameter_tensors` the
    number of trained tensors. `formulas` are a manifest's: `parameters` (elements), `parameter_tensors`, `buffers`,
    `inputs` and `activations` at `forward_end`, `optimizer_state` of an optimizer that is not known here (bytes). They
    go before what was given; the optimizer state of Adam needs to know `device`, the one in focus, since its `step`
    scalars stay in host memory.
    """
    settings = settings if device is None else {**settings, "device": device}
    values = {name: _value(formula, settings) for name, formula in formulas.items()}
    elements = parameters if (counted := values.get("parameters")) is None else counted
    trained = elements if trainable == parameters else trainable
    tensors = parameter_tensors if (listed := values.get("parameter_tensors")) is None else listed
    theory = {
        "parameters": _each(elements, itemsize),
        "gradients": _each(trained, itemsize),
        "optimizer_state": _optimizer_state(settings, trained * itemsize, tensors, device)
        or _formula("optimizer_state", values, formulas, settings),
        "buffers": _buffers(values.get("buffers"), buffers),
        "inputs": _formula("inputs", values, formulas, settings),
        "activations": _formula("activations", values, formulas, settings),
    }
    return {category: found for category, found in theory.items() if found is not None}


def names_of(settings: Mapping[str, Setting]) -> dict[str, Value]:
    """What a formula may name: the settings; of `checkpoint="segments=8"` also `segments`, 8."""
    named: dict[str, Value] = {}
    for name, value in settings.items():
        if value is None:
            continue
        word, equals, count = str(value).partition("=")
        if equals and word.isidentifier() and count.isdecimal():
            named |= {name: word, word: int(count)}
        else:
            named[name] = value
    return named


def _value(formula: str, settings: Mapping[str, Setting]) -> int | None:
    """The formula's whole bytes or elements; `None` where it has no value for these settings."""
    try:
        value = evaluate(formula, names_of(settings))
    except ExpressionError:
        return None
    if isinstance(value, (bool, str)) or value is None or not math.isfinite(value):
        return None
    return int(value) if value >= 0 and value == int(value) else None


def _each(elements: int, itemsize: int) -> Theory:
    return Theory(bytes=elements * itemsize, why=f"{elements:,} × {itemsize} B")


def _buffers(formula: int | None, given: int | None) -> Theory | None:
    if formula is not None:
        return Theory(bytes=formula, why="counted from the layers")
    return None if given is None else Theory(bytes=given, why="as the model registers them")


def _optimizer_state(
    settings: Mapping[str, Setting], trained: int, tensors: int | None, device: str | None
) -> Theory | None:
    """`trained` is the bytes of all trained parameters; `None` for an optimizer or a device that is not known."""
    name = settings.get("optimizer")
    states = _STATES.get(name) if isinstance(name, str) else None
    if states is None:
        return None
    if states < 2:
        return Theory(bytes=states * trained, why=f"{name}: {states} × {trained:,} B")
    where = device if device is not None else settings.get("device")
    if where in (None, "auto"):
        return None
    if where != "cpu":
        return Theory(bytes=2 * trained, why=f"{name}: 2 × {trained:,} B; its step counters are in host memory")
    if tensors is None:
        return None
    steps = tensors * _STEP_BYTES
    return Theory(bytes=2 * trained + steps, why=f"{name}: 2 × {trained:,} B + {tensors:,} step counters × 4 B")


def _formula(
    category: str, values: Mapping[str, int | None], formulas: Mapping[str, str], settings: Mapping[str, Setting]
) -> Theory | None:
    value = values.get(category)
    if value is None:
        return None
    return Theory(bytes=value, why=written_out(formulas[category], names_of(settings)))
