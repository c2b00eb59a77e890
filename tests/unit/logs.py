"""Logs for tests: a real one (`cnn`, batch 4, 40 steps, with the course of a step), and others made from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

CNN = Path(__file__).parents[1] / "fixtures" / "cnn.jsonl"

Line = dict[str, Any]


def lines() -> list[Line]:
    """The real log's records."""
    return [json.loads(line) for line in CNN.read_text().splitlines()]


def write(path: Path, records: list[Line], change: Callable[[Line], None] | None = None) -> str:
    """These records as a log; each is given to `change` first."""
    for record in records:
        if change is not None:
            change(record)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def peak() -> dict[str, int]:
    """The tensor bytes by category at the real log's highest moment: that of its deep look's peak."""
    (record,) = [line for line in lines() if line["kind"] == "memory" and line["moment"] == "peak"]
    found: dict[str, int] = record["bytes"]
    return found


def cut_off(path: Path) -> str:
    """The log as a killed run leaves it: the last line is torn, there is no end."""
    text = CNN.read_text().splitlines()
    path.write_text("\n".join(text[:-1]) + "\n" + text[-1][: len(text[-1]) // 2])
    return str(path)


def twice_the_activations(record: Line) -> None:
    """Another run: its peak with the activations doubled, and a batch of 8."""
    if record["kind"] == "memory" and record["moment"] == "peak":
        record["bytes"]["free"] -= record["bytes"]["activations"]
        record["bytes"]["activations"] *= 2
    if record["kind"] == "run":
        record["settings"]["batch_size"] = 8
    if record["kind"] == "step":
        record["batch_size"] = 8
