"""`memtop fit` on real trainings: the answer is proved, and estimates say that they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.process.failing import LIMIT as LIMIT_S
from tests.process.failing import Place, eventually, terminal

LIMIT = 8 * 2**20
SIZED = Path(__file__).parent / "programs" / "sized.py"


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


def sized(place: Place, *more: str, memory: str = "128KiB") -> subprocess.CompletedProcess[str]:
    """`memtop fit` on a script with a flag of its own."""
    return fit_of(place, "--memory", memory, "--steps", "4", "--", sys.executable, str(SIZED), *more)


def fit_of(place: Place, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "memtop", "fit", "--flag", "--batch-size", *words]
    return subprocess.run(command, env=place.env, capture_output=True, text=True, timeout=300)


def test_a_crash_that_is_no_memory_ends_the_search(place: Place) -> None:
    done = sized(place, "--how", "crash")
    assert done.returncode == 1
    assert "out of memory" not in done.stdout
    assert "ValueError: a label is out of range" in done.stderr
    assert "ended otherwise than for memory; run it by itself: " in done.stderr.splitlines()[-1]


def test_running_out_of_memory_is_a_result(place: Place) -> None:
    done = sized(place, "--how", "memory")
    assert done.returncode == 0, done.stderr
    assert "largest batch that fits: 40" in done.stdout
    assert "41 ran out of memory" in done.stdout


def test_an_error_that_was_caught_is_not_called_memory(place: Place) -> None:
    done = sized(place, "--how", "caught")
    assert done.returncode == 0, done.stderr
    assert "largest batch that fits: 40" in done.stdout
    assert "out of memory" not in done.stdout
    assert "  caught: RuntimeError" in done.stdout.splitlines()


def test_a_smaller_last_batch_is_no_measure_of_a_larger_one(place: Place) -> None:
    """Of 60 samples 59 leave one for the second step, which would be small enough for any limit."""
    done = sized(place, "--samples", "60", memory="1MiB")
    assert done.returncode == 0, done.stderr
    assert "largest batch that fits: 16" in done.stdout
    assert "step 2 was a smaller last batch" in done.stdout
    assert "a pass has at most 64 samples" in done.stdout


def test_ctrl_c_leaves_what_was_found_and_nobody_behind(place: Place) -> None:
    fifo = place.temp / "fifo"
    os.mkfifo(fifo)
    words = ("--flag", "--batch-size", "--memory", "1MiB", "--", sys.executable, str(SIZED), "--wait", str(fifo))
    with terminal(place, "fit", *words) as screen:
        assert eventually(lambda: b"2 of 6 steps" in screen.seen)
        screen.type(b"\x03")
        assert screen.process.wait(LIMIT_S) == 130
        assert eventually(lambda: b"memtop: interrupted" in screen.seen)
    assert b"Traceback" not in screen.seen
    assert place.nobody_left()


def test_a_trial_without_a_step_is_given_up(place: Place) -> None:
    fifo = place.temp / "fifo"
    os.mkfifo(fifo)
    done = fit_of(place, "--patience", "15", "--", sys.executable, str(SIZED), "--wait", str(fifo))
    assert done.returncode == 1
    assert "batch 16 was ended: 15 s without a step, 2 done; --patience gives it longer" in done.stderr
    assert place.nobody_left()
