"""Programs that leak, that only look as if, and that run out of memory: what is told of them, and what they notice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.process.failing import LIMIT, ROOT, Place, eventually

PROGRAMS = Path(__file__).parent / "programs"
LEAKING, STARVED, STRANGERS = (str(PROGRAMS / f"{name}.py") for name in ("leaking", "starved", "strangers"))
HOLDERS = {"graph": "list losses", "chain": None, "kept": "list Meter.values", "grows": None, "buffer": None}


OFTEN = {"trainer": "graph", "hook": "kept", "retain": "graph", "traceback": "kept", "prefetch": "kept"}
OFTEN_IN = {"trainer": "list Trainer.outputs", "hook": "list hidden", "traceback": "a list of exceptions"}
RARE = {
    "tensorboard": ("graph", 50),
    "every_tenth": ("kept", 10),
    "evaluated": ("kept", 20),
    "epochs": ("kept", 40),
    "late": ("kept", 1),
}
"""How often one is added, in steps; what comes in each step comes late."""
HONEST = (
    *("replay", "roomy_replay", "ring", "ema_copy", "accumulation", "curriculum", "evaluation", "epoch_metrics"),
    *("lru", "generated", "context"),
)
CENSUSES = ("1600", "0.001")
"""Steps, and seconds of each: on a quiet machine a leak that is rare is found within them where half of the time may
go into it."""


def watched(log: Path, overhead: float = 1) -> list[str]:
    """Of `memtop run`: all that stands before the command."""
    return ["run", "--python", sys.executable, "--overhead", str(overhead), "--log", str(log)]


def run(place: Place, log: Path, *command: str, overhead: float = 1) -> tuple[int, bytes, bytes, list[dict[str, Any]]]:
    """Status, stdout, stderr and the log's events of `memtop run`."""
    process = place.memtop(*watched(log, overhead), *command)
    out, err = process.communicate(timeout=LIMIT)
    records = [json.loads(line) for line in log.read_text().splitlines()]
    return process.returncode, out, err, [one for one in records if one["kind"] == "event"]


def leaks_of(log: Path) -> list[dict[str, Any]]:
    """What the log has so far of leaks; it is being written."""
    lines = log.read_text().splitlines(keepends=True) if log.exists() else []
    records = [json.loads(line) for line in lines if line.endswith("\n")]
    return [one["data"] for one in records if one["kind"] == "event" and one["name"] == "leak"]


def line_of(path: str, mark: str) -> int:
    """The number of the line that ends in this comment."""
    lines = Path(path).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.endswith(f"# {mark}"))


@pytest.mark.parametrize("kind", HOLDERS)
def test_a_leak_is_told_with_its_kind_and_its_line(place: Place, tmp_path: Path, kind: str) -> None:
    status, _, err, events = run(place, tmp_path / "log.jsonl", LEAKING, kind)
    told = [one["data"] for one in events if one["name"] == "leak"]
    assert (status, len(told)) == (0, 1), err
    leak = told[0]
    assert leak["kind"] == ("grows" if kind == "buffer" else kind)
    assert (leak["file"], leak["line"]) == (LEAKING, line_of(LEAKING, f"leaks: {kind}"))
    assert leak["holder"] == HOLDERS[kind]
    # (4, 8) float32 a step; of the chain also the hidden layer (4, 16) and the batch.
    assert leak["bytes_per_step"] == (512 if kind == "chain" else 128)
    assert f"leak at leaking.py:{leak['line']}".encode() in err


@pytest.mark.parametrize("kind", OFTEN)
def test_a_stranger_s_leak_in_each_step_is_told_once_with_its_line(place: Place, tmp_path: Path, kind: str) -> None:
    status, _, err, events = run(place, tmp_path / "log.jsonl", STRANGERS, kind)
    assert (status, [one["name"] for one in events if one["name"].startswith("leak")]) == (0, ["leak"]), err
    leak = next(one["data"] for one in events if one["name"] == "leak")
    lines = [(leak["file"], leak["line"]), *((file, int(line)) for file, _, line in map(_parted, leak["more"]))]
    assert (STRANGERS, line_of(STRANGERS, f"leaks: {kind}")) in lines[:2]
    assert leak["kind"] == OFTEN[kind]
    assert leak["holder"] == OFTEN_IN.get(kind, "a list")


def _parted(place: str) -> tuple[str, str, str]:
    return place.rpartition(":")


@pytest.mark.parametrize("kind", RARE)
def test_a_leak_that_is_rare_is_told_with_its_line(place: Place, tmp_path: Path, kind: str) -> None:
    log, (how, every) = tmp_path / "log.jsonl", RARE[kind]
    process = place.memtop(*watched(log, 50), STRANGERS, kind, "1000000", "0.001")
    assert eventually(lambda: leaks_of(log), 2 * LIMIT)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=LIMIT)
    [leak] = leaks_of(log)
    assert (leak["kind"], leak["file"], leak["line"]) == (how, STRANGERS, line_of(STRANGERS, f"leaks: {kind}"))
    assert 0.7 * every < 1 / leak["tensors_per_step"] < 1.4 * every
    assert leak["holder"] == ("list Writer.rows" if kind == "tensorboard" else "a list")


@pytest.mark.parametrize("kind", HONEST)
def test_a_stranger_s_honest_program_is_not_accused(place: Place, tmp_path: Path, kind: str) -> None:
    status, _, err, events = run(place, tmp_path / "log.jsonl", STRANGERS, kind, *CENSUSES, overhead=50)
    assert (status, [one for one in events if one["name"] in ("leak", "warning", "probe")]) == (0, []), err


@pytest.mark.parametrize("kind", ["warm_up", "caching", "sequence", "logging", "ema"])
def test_an_honest_program_is_not_accused(place: Place, tmp_path: Path, kind: str) -> None:
    status, _, err, events = run(place, tmp_path / "log.jsonl", LEAKING, kind)
    assert (status, [one for one in events if one["name"] in ("leak", "warning", "probe")]) == (0, []), err


def test_the_line_that_reads_a_value_is_told(place: Place, tmp_path: Path) -> None:
    events = run(place, tmp_path / "log.jsonl", LEAKING, "logging")[3]
    waits = next(one["data"] for one in events if one["name"] == "syncs")
    number = next(n for n, text in enumerate(Path(LEAKING).read_text().splitlines(), 1) if "loss.item()" in text)
    assert [(row["line"], row["operator"], row["count"]) for row in waits["rows"]] == [
        (number, "_local_scalar_dense", 1)
    ]


@pytest.mark.parametrize(
    ("how", "mark", "module", "asked"),
    [
        (["impossible"], "asks for too much", "0", 4 * 10**15),
        (["batch", "16384"], "the line that runs out", "1", 16384 * 8192 * 4),
    ],
)
def test_running_out_is_explained_and_nothing_else_is_changed(
    place: Place, tmp_path: Path, how: list[str], mark: str, module: str, asked: int
) -> None:
    plain = subprocess.run([sys.executable, STARVED, *how], capture_output=True, cwd=ROOT, timeout=LIMIT)
    status, out, err, events = run(place, tmp_path / "log.jsonl", STARVED, *how)
    own, _, ours = err.partition(b"memtop: ")
    assert (status, out, own) == (plain.returncode, plain.stdout, plain.stderr)
    assert status == 1
    [told] = [one["data"] for one in events if one["name"] == "oom"]
    assert told["place"] == f"{STARVED}:{line_of(STARVED, mark)}"
    assert (told["module"], told["asked"], told["fatal"]) == (module, asked, True)
    assert told["short"] == told["asked"] - told["available"] > 0
    assert told["total"] == sum(count for count in told["bytes"].values() if count is not None)
    assert f"starved.py:{line_of(STARVED, mark)}".encode() in ours
    if how[0] == "impossible":
        assert told["remedies"] == []
        assert b"larger than the whole device" in ours
    else:
        assert told["limit"] == "RLIMIT_AS"
        assert told["changes"] == ["the batch was (64, 8) float32, it is (16384, 8) float32"]
        smaller = told["remedies"][0]
        assert smaller["enough"]
        assert smaller["saves"] >= told["short"]
        size = smaller["text"].split()[1].replace(",", "")
        again = subprocess.run([sys.executable, STARVED, "batch", size], capture_output=True, cwd=ROOT, timeout=LIMIT)
        assert again.returncode == 0, "the remedy works"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python tells of what is raised from 3.12 on")
def test_one_that_the_program_catches_where_nothing_is_watched_is_told(place: Place, tmp_path: Path) -> None:
    plain = subprocess.run([sys.executable, STARVED, "after"], capture_output=True, cwd=ROOT, timeout=LIMIT)
    status, out, err, events = run(place, tmp_path / "log.jsonl", STARVED, "after")
    assert (status, out, err.partition(b"memtop: ")[0]) == (0, plain.stdout, plain.stderr)
    [told] = [one for one in events if one["name"] == "oom"]
    assert told["data"]["place"] == f"{STARVED}:{line_of(STARVED, 'after')}"
    assert told["data"]["asked"] == 4 * 10**15


def test_one_that_the_program_catches_is_told_once(place: Place, tmp_path: Path) -> None:
    plain = subprocess.run([sys.executable, STARVED, "caught"], capture_output=True, cwd=ROOT, timeout=LIMIT)
    status, out, err, events = run(place, tmp_path / "log.jsonl", STARVED, "caught")
    assert (status, out, err.partition(b"memtop: ")[0]) == (0, plain.stdout, plain.stderr)
    [told] = [one for one in events if one["name"] == "oom"]
    assert told["data"]["place"] == f"{STARVED}:{line_of(STARVED, 'caught')}"
    assert [one["data"]["step"] for one in events if one["name"] == "oom_caught"] == [told["data"]["step"]] == [2]
