"""The scenario `tensor-tracker`: what its marks must tell, worked out by hand from the shapes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from memtop.launcher import manifests

ROOT = Path(__file__).parents[2]
LIMIT = 90

Rows = set[tuple[tuple[int, ...], str, int, int]]
"""Shape, kind, count, bytes of all of them."""

VGG19: Rows = {
    ((512, 512, 3, 3), "Parameter", 7, 66_060_288),
    ((512, 256, 3, 3), "Parameter", 1, 4_718_592),
    ((256, 256, 3, 3), "Parameter", 3, 7_077_888),
    ((256, 128, 3, 3), "Parameter", 1, 1_179_648),
    ((128, 128, 3, 3), "Parameter", 1, 589_824),
    ((128, 64, 3, 3), "Parameter", 1, 294_912),
    ((64, 64, 3, 3), "Parameter", 1, 147_456),
    ((64, 3, 3, 3), "Parameter", 1, 6_912),
    ((512,), "Parameter", 8, 16_384),
    ((256,), "Parameter", 4, 4_096),
    ((128,), "Parameter", 2, 1_024),
    ((64,), "Parameter", 2, 512),
}
THREE: Rows = {
    ((60, 3, 512, 512), "Tensor", 1, 188_743_680),
    ((30, 3, 512, 512), "Tensor", 1, 94_371_840),
    ((40, 3, 512, 512), "Tensor", 1, 125_829_120),
}
TWO: Rows = {((120, 3, 512, 512), "Tensor", 1, 377_487_360), ((80, 3, 512, 512), "Tensor", 1, 251_658_240)}
DELETED: Rows = {((120, 3, 512, 512), "Tensor", 1, 377_487_360), ((40, 3, 512, 512), "Tensor", 1, 125_829_120)}
NONE: Rows = set()

TABLE: list[tuple[str, str, Rows, Rows]] = [
    ("VGG-19's convolutions", "model = stack().to(device)", VGG19, NONE),
    ("three tensors", "third = torch.empty(40, 3, 512, 512, device=device)", THREE, NONE),
    ("two more", "fifth = torch.empty(80, 3, 512, 512, device=device)", TWO, NONE),
    ("two deleted", "del fourth, third", NONE, DELETED),
]
"""After which line: what came, what went."""

ARGUMENTS = ("--steps", "2", "--device", "cpu", "--batch-size", "2")


@pytest.fixture(scope="module")
def watched() -> subprocess.CompletedProcess[str]:
    pytest.importorskip("torch", reason="scenarios need torch")
    command = [sys.executable, "-m", "memtop", "--headless", "--scenario", "tensor-tracker", *ARGUMENTS, "--log", "-"]
    # Found by the current folder: the scenario's own Python knows of no memtop, and is lent the one that watches.
    done = subprocess.run(command, cwd=ROOT, env=plain_environment(), capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    return done


def plain_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("MEMTOP", "PYTHONPATH"))}


@pytest.fixture(scope="module")
def marks(watched: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """The data of each mark in the log."""
    records = [json.loads(line) for line in watched.stdout.splitlines()]
    assert (records[-1]["kind"], records[-1]["exit_code"], records[-1]["steps"]) == ("end", 0, 2)
    return [each["data"] for each in records if each["kind"] == "event" and each["name"] == "track"]


def rows(groups: list[dict[str, Any]]) -> Rows:
    assert {(each["dtype"], each["device"]) for each in groups} <= {("float32", "cpu")}
    found = {(tuple(each["shape"]), each["kind"], each["count"], each["bytes"]) for each in groups}
    assert len(found) == len(groups)
    return found


def test_the_table_is_exact(marks: list[dict[str, Any]]) -> None:
    script = manifests.load("tensor-tracker").script.read_text("utf-8").splitlines()
    assert [mark["label"] for mark in marks] == ["before", *(label for label, *_ in TABLE)]
    for mark, (_, line, gained, lost) in zip(marks[1:], TABLE, strict=True):
        assert (rows(mark["gained"]), rows(mark["lost"])) == (gained, lost)
        name, _, number = mark["place"].partition(":")
        assert name == "train.py"
        assert script[int(number) - 2].strip() == line
        assert mark["unread"] == 0


def test_the_totals_add_up(marks: list[dict[str, Any]]) -> None:
    """Nothing in this program is a view, so what came and went is the difference of the totals."""
    for before, mark in pairwise(marks):
        came, went = (sum(each["bytes"] for each in mark[side]) for side in ("gained", "lost"))
        assert mark["total"] - before["total"] == came - went
    assert sum(each[3] for each in VGG19) == 80_097_536


def test_without_memtop_it_says_and_computes_the_same(
    watched: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    command = [sys.executable, str(manifests.load("tensor-tracker").script), *ARGUMENTS]
    (tmp_path / "memtop.py").write_text("raise ImportError('not installed')\n")
    env = {**plain_environment(), "PYTHONPATH": str(tmp_path)}
    alone = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=LIMIT)
    assert (alone.returncode, alone.stderr) == (0, "")
    # With the log on stdout the script's own lines stand on stderr, beside memtop's words.
    said = [line for line in alone.stdout.splitlines() if not line.startswith("step ")]
    assert [line.partition(":")[0] for line in said] == ["data", "model", "done"]
    assert [line for line in watched.stderr.splitlines() if line in said] == said
