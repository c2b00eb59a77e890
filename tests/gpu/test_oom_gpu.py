"""Running out of a share of a GPU (`set_per_process_memory_fraction`): what is told of it, and whether it helps."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the probe lives in a process that has torch")

from tests.gpu.device import PROGRAMS, Record, logged, memtop, python  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this torch sees no CUDA device"),
]
STARVED = str(PROGRAMS / "starved_gpu.py")
SHARE = 512 << 20


def line_of(mark: str) -> int:
    lines = Path(STARVED).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.endswith(f"# {mark}"))


def starved(tmp_path: Path, *how: str) -> tuple[int, str, str, list[Record]]:
    """Status, stdout, stderr and the log's events of a watched run."""
    log = tmp_path / "log.jsonl"
    done = memtop("run", "--headless", "--python", sys.executable, "--log", str(log), STARVED, *how)
    return done.returncode, done.stdout, done.stderr, [one for one in logged(log) if one["kind"] == "event"]


def told(events: list[Record]) -> Record:
    [one] = [one["data"] for one in events if one["name"] == "oom"]
    data: Record = one
    sizes = data["bytes"]
    assert data["total"] == sum(size for size in sizes.values() if size is not None)
    assert data["device"] == "cuda:0"
    return data


def same_error(watched: str, plain: str) -> None:
    """The traceback ends in torch's own words; who else is on the device at that time is in them, too."""

    def last(text: str) -> str:
        lines = [line for line in text.partition("\nmemtop: ")[0].splitlines() if line and not line.startswith("[W")]
        return lines[-1].partition(" GPU ")[0]

    assert last(watched) == last(plain)
    assert last(plain).startswith("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate")


def test_a_batch_that_is_too_large_names_its_line_and_one_that_works(tmp_path: Path) -> None:
    plain = python(STARVED, "batch", "16384")
    status, out, err, events = starved(tmp_path, "batch", "16384")
    assert (status, out) == (plain.returncode, plain.stdout)
    assert status == 1
    same_error(err, plain.stderr)
    oom = told(events)
    assert oom["place"] == f"{STARVED}:{line_of('the line that runs out')}"
    assert (oom["asked"], oom["step"]) == (16384 * 8192 * 4, 7)
    assert oom["limit"] == "memory fraction"
    assert 0 < oom["available"] < SHARE
    assert oom["short"] == oom["asked"] - oom["available"]
    assert oom["changes"] == ["the batch was (64, 64) float32, it is (16384, 64) float32"]
    assert not [one for one in oom["remedies"] if "other processes" in one["text"]]
    for one in oom["remedies"]:
        assert one["enough"]
        assert one["saves"] >= oom["short"]
    smaller = oom["remedies"][0]
    size = smaller["text"].split()[1].replace(",", "")
    assert smaller["text"].startswith("batch ")
    assert python(STARVED, "batch", size).returncode == 0, "the remedy works"


def test_a_forecast_knows_the_share_that_a_training_lets_torch_reserve(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    memtop("run", "--headless", "--python", sys.executable, "--log", str(log), STARVED, "batch", "64")
    told = [one for one in logged(log) if one["kind"] == "forecast"][-1]
    assert told["limit_is"] == "memory fraction"
    assert 0 <= SHARE - told["limit_bytes"] - told["pieces_bytes"] < 1 << 20
    most = told["max_batch_size"]
    assert python(STARVED, "batch", str(most)).returncode == 0
    assert python(STARVED, "batch", str(most + most // 4)).returncode == 1


def test_what_is_held_at_that_instant_is_known(tmp_path: Path) -> None:
    oom = told(starved(tmp_path, "batch", "16384")[3])
    parameters = (64 * 8192 + 8192 + 8192 * 8 + 8) * 4
    sizes = oom["bytes"]
    assert (sizes["parameters"], sizes["gradients"]) == (parameters, 0)
    assert 2 * parameters <= sizes["optimizer_state"] <= 2 * parameters + 4 * 4
    assert sizes["inputs"] == 16384 * 64 * 4, "the copy on the device, not the loader's own"


def test_more_than_the_device_has(tmp_path: Path) -> None:
    status, _, err, events = starved(tmp_path, "impossible")
    oom = told(events)
    assert (status, oom["asked"], oom["remedies"]) == (1, 1 << 50, [])
    assert oom["place"] == f"{STARVED}:{line_of('asks for too much')}"
    assert "larger than the whole device" in err


def test_one_that_the_program_catches_is_told_once_and_the_training_goes_on(tmp_path: Path) -> None:
    plain = python(STARVED, "caught")
    status, out, _, events = starved(tmp_path, "caught")
    assert (status, out) == (0, plain.stdout)
    assert told(events)["place"] == f"{STARVED}:{line_of('caught')}"
    assert [one["data"]["step"] for one in events if one["name"] == "oom_caught"] == [2]


def test_a_cache_in_pieces_is_told_as_such(tmp_path: Path) -> None:
    status, _, _, events = starved(tmp_path, "pieces")
    oom = told(events)
    assert status == 1
    assert oom["place"] == f"{STARVED}:{line_of('no piece is large enough')}"
    assert oom["asked"] == 224 << 20
    assert 11 << 20 <= oom["largest_free"] < 20 << 20, "of segments of 20 MiB with 9 in use"
    assert oom["fragmented"]
    assert oom["cached"] + oom["available"] >= oom["asked"]
    assert "expandable_segments:True" in oom["remedies"][0]["text"]


def test_the_scenario_ends_as_a_training_ends_whose_memory_has_ended(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    settings = ("--set", "cap=100", "--set", "phase_steps=2", "--device", "cuda:0", "--log", str(log))
    done = memtop("--headless", "--scenario", "oom", *settings)
    assert done.returncode == 1
    assert "torch.OutOfMemoryError: CUDA out of memory" in done.stderr
    oom = told([one for one in logged(log) if one["kind"] == "event"])
    assert oom["limit"] == "memory fraction"
    assert "scenarios/oom/train.py:" in oom["place"]
