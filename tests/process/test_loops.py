"""Loops as people write them, unmodified: what is counted as a step, what feeds it, and that nothing else changes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from memtop.launcher.target import environment
from memtop.model.categories import TENSORS
from memtop.protocol import records
from tests.process.test_bit_identity import Monitor, base

PROGRAMS = Path(__file__).parent / "programs"
LIMIT = 120


def child(*words: str, env: dict[str, str]) -> tuple[int, bytes, bytes]:
    """Status, stdout and stderr of a program."""
    command = [sys.executable, *words]
    done = subprocess.run(command, env={**env, "OMP_NUM_THREADS": "1"}, capture_output=True, timeout=LIMIT, check=False)
    return done.returncode, done.stdout, done.stderr


def watched(*words: str, steps: int | None = None) -> tuple[tuple[int, bytes, bytes], list[records.Message]]:
    """The same with the probe in it, and what the monitor heard."""
    monitor = Monitor()
    try:
        env = environment(base(), monitor.address.path, 1.0, owned=False, steps=steps)
        ended = child(*words, env=env)
    finally:
        monitor.close()
    assert not monitor.malformed
    return ended, monitor.heard


def only(heard: list[records.Message], kind: Any) -> list[Any]:
    return [one for one in heard if isinstance(one, kind)]


LOOPS = {
    # name: steps, batch of the newest step that says it, batches in a step, sequence, bytes of optimizer state
    "own_optimizer": (10, 16, 1, None, 2768),
    "no_optimizer": (10, None, None, None, 0),
    "accumulates": (12, 24, 4, 12, 2 * 13000 + 3 * 4),
    "skips": (12, 16, 1, None, 2768),
    "evaluates": (12, 32, 1, None, 2 * 3016 + 4 * 4),
    "adversaries": (12, 48, 1, None, None),
    "infers": (12, 32, 1, None, 0),
}


@pytest.mark.parametrize("name", LOOPS)
def test_its_steps_are_found_and_nothing_is_changed(name: str, tmp_path: Path) -> None:
    steps, batch, micro, sequence, state = LOOPS[name]
    program, plain, result = str(PROGRAMS / "loops.py"), tmp_path / "plain", tmp_path / "with"
    alone = child(program, name, str(plain), env=base())
    ended, heard = watched(program, name, str(result))
    assert ended == alone == (0, b"", b"")
    assert result.read_bytes() == plain.read_bytes()
    (bye,) = only(heard, records.Bye)
    assert bye.steps == steps
    batches = [one.batch_size for one in only(heard, records.Step)]
    assert [one for one in batches if one][-1:] == ([batch] if batch else [])
    model = only(heard, records.Model)[-1]
    assert (model.micro_batches, model.sequence) == (micro, sequence)
    peak = next(one for one in only(heard, records.Memory) if one.moment == "peak")
    held = {category: peak.bytes[category] or 0 for category in TENSORS}
    assert held["parameters"] > 0
    assert abs(held["other_tensors"]) <= 0.02 * sum(held.values())
    ends = [one for one in only(heard, records.Memory) if one.moment == "step_end" and one.tier == "deep"]
    assert state in (None, ends[0].bytes["optimizer_state"])
    events = {one.name: one for one in only(heard, records.Event)}
    assert ("probe" in events, "skipped" in events) == (False, name == "skips")
    if name == "skips":
        assert events["skipped"].data["skipped"] == 3
    assert ("steps" in events) == (name == "no_optimizer")


@pytest.mark.parametrize("name", ["backward", "whole", "step"])
def test_dynamo_breaks_and_compiles_as_without_us(name: str) -> None:
    program = str(PROGRAMS / "compiles.py")
    alone = child(program, name, env=base())
    ended, heard = watched(program, name)
    assert ended[:2] == alone[:2]  # torch writes times and process numbers to stderr
    assert b"'graph_break'" in alone[1]
    assert only(heard, records.Bye)[0].steps >= 3000
    assert not only(heard, records.Event)


def test_the_last_step_asked_for_is_the_last(tmp_path: Path) -> None:
    """The program is held there until the monitor, who is told at once, ends it; this one lets it go on."""
    program, result = str(PROGRAMS / "train.py"), tmp_path / "losses"
    ended, heard = watched(program, str(result), "25", steps=13)
    assert ended[0] == 4
    told = [one.step for one in only(heard, records.Step)]
    assert told[:8] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert 13 in told


def test_steps_are_known_of_a_program_that_leaves_without_a_word(tmp_path: Path) -> None:
    script = tmp_path / "leaves.py"
    loop = "for _ in range(5):\n    model(torch.ones(2, 4)).sum().backward()\n    optimizer.step()\n"
    script.write_text(
        "import os, torch\nmodel = torch.nn.Linear(4, 2)\noptimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        f"{loop}os._exit(3)\n"
    )
    (status, _, _), heard = watched(str(script))
    assert status == 3
    assert [one.step for one in only(heard, records.Step)] == [1, 2, 3, 4, 5]
    assert not only(heard, records.Bye)


def test_a_traceback_through_a_forward_has_one_frame_of_ours(tmp_path: Path) -> None:
    script = tmp_path / "fails.py"
    script.write_text(
        "import torch\nmodel = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(4, 2)))\n"
        "with torch.no_grad():\n    for width in (4, 4, 4, 5):\n        model(torch.ones(3, width))\n"
    )
    alone = child(str(script), env=base())
    (status, out, err), _ = watched(str(script))
    assert (status, out) == alone[:2] == (1, b"")
    lines = err.splitlines(keepends=True)
    (ours,) = [number for number, line in enumerate(lines) if b"memtop_call" in line]
    until = next(number for number in range(ours + 1, len(lines)) if lines[number].startswith(b"  File"))
    assert b"".join(lines[:ours] + lines[until:]) == alone[2]
