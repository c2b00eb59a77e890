"""`memtop fit` on real trainings: the answer is proved, and estimates say that they are."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.process.failing import Place

LIMIT = 8 * 2**20


def fitted(place: Place, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "memtop", "fit", *arguments, "--json"]
    done = subprocess.run(command, env=place.env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_the_largest_batch_is_below_the_limit_and_the_next_is_above(place: Place) -> None:
    told = fitted(place, "--scenario", "mlp-mnist", "--device", "cpu", "--memory", "8MiB", "--steps", "3")
    assert told["proved"]
    assert told["peak_bytes"] <= LIMIT < told["next"]["peak_bytes"]
    assert told["next"]["batch_size"] == told["batch_size"] + 1
    assert len(told["trials"]) <= 5
    # By hand: four copies of the weights and their state, and of each image its pixels, label and what forward keeps.
    assert told["bytes_per_sample"] >= 3_136 + 8 + 4 * (128 + 10)


def test_what_if_from_one_run(place: Place) -> None:
    told = fitted(place, "--what-if", "--scenario", "mlp-mnist", "--device", "cpu", "--memory", "8MiB", "--steps", "3")
    lines = {line["name"]: line for line in told["lines"]}
    assert told["batch_size"] == 64
    assert told["lines"][0]["name"] == "as it is"
    assert told["lines"][0]["peak_bytes"] == told["trial"]["peak_bytes"]
    # SGD keeps no state: below Adam's peak by at least the two numbers that it keeps for each of 101,770 weights.
    assert lines["SGD"]["saves_bytes"] >= 2 * 407_080
    assert lines["SGD"]["estimate"]
    assert lines["SGD"]["max_batch_size"] >= lines["as it is"]["max_batch_size"] > 64


def test_a_plan_for_a_gpu_that_is_not_here(place: Place) -> None:
    told = fitted(place, "--as", "cuda", "--device-memory", "1GiB", "--scenario", "mlp-mnist", "--steps", "3")
    assert told["estimate"]
    assert not told["compared_with_a_gpu"]
    assert (told["ran_on"], told["runs"]) == ("cpu", [8, 12])
    assert 0 < told["batch_size"] <= told["perhaps_batch_size"]
    rows = {row["batch_size"]: row for row in told["rows"]}
    assert rows[told["batch_size"]]["fits"] == "yes"
    for row in rows.values():
        assert row["requested_bytes"] <= row["allocated_bytes"] <= row["reserved_bytes"]
        assert row["used_bytes"]["low"] < row["used_bytes"]["middle"] < row["used_bytes"]["high"]
    assert rows[told["batch_size"]]["used_bytes"]["high"] <= 2**30
    assert max(rows) > told["perhaps_batch_size"]
    assert rows[max(rows)]["fits"] == "no"
