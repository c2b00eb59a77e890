"""What is said to work where memory has run out: the same program, really changed so, runs within the same limit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.process.failing import ROOT, Place

SHORT = str(Path(__file__).parent / "programs" / "short.py")
BATCH = 140_000
PATIENCE = 300
"""Seconds: steps of so many samples take some on a busy machine."""
ERROR = 0.06
"""Of the peak: how far what is said to be saved may be from what is."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limit is held by Linux alone")


def watched(place: Place, log: Path, *command: str) -> list[dict[str, Any]]:
    """The records of a watched run."""
    process = place.memtop("run", "--headless", "--python", sys.executable, "--log", str(log), *command)
    process.communicate(timeout=PATIENCE)
    return [json.loads(line) for line in log.read_text().splitlines()]


def peak(place: Place, log: Path, *words: str) -> int:
    """Without the limit: the peak of a step, as a deep look measures it."""
    records = watched(place, log, SHORT, *words, "free")
    found = [one["allocated"] for one in records if one["kind"] == "memory" and one["moment"] == "peak"]
    return int(max(found))


def plain(*words: str) -> int:
    done = subprocess.run([sys.executable, SHORT, *words], capture_output=True, cwd=ROOT, timeout=PATIENCE)
    return done.returncode


def changed(layers: str, remedy: dict[str, Any]) -> list[str]:
    """The program's words for a remedy."""
    how = {"batch": [], "checkpoint": [f"checkpoint={remedy['count']}"], "half": ["half"], "optimizer": ["sgd"]}
    return [layers, str(remedy["count"] if remedy["kind"] == "batch" else BATCH), *how[remedy["kind"]]]


@pytest.mark.parametrize(("layers", "kinds"), [("6", ["batch", "optimizer"]), ("10", ["batch", "checkpoint"])])
def test_each_remedy_works_and_saves_what_is_said(place: Place, tmp_path: Path, layers: str, kinds: list[str]) -> None:
    records = watched(place, tmp_path / "log.jsonl", SHORT, layers, str(BATCH))
    [told] = [one["data"] for one in records if one["kind"] == "event" and one["name"] == "oom"]
    assert (told["batch"], told["limit"]) == (BATCH, "RLIMIT_AS")
    assert [one["kind"] for one in told["remedies"]] == kinds
    assert all(one["whole"] and one["enough"] for one in told["remedies"])
    before = peak(place, tmp_path / "before.jsonl", layers, str(BATCH))
    for remedy in told["remedies"]:
        words = changed(layers, remedy)
        assert plain(*words) == 0, f"{remedy['text']} does not work"
        saved = before - peak(place, tmp_path / f"{remedy['kind']}.jsonl", *words)
        assert abs(remedy["saves"] - saved) <= ERROR * before, (
            f"{remedy['text']}: {remedy['saves']:,} told, {saved:,} saved"
        )
