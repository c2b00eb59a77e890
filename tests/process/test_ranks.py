"""Real ranks under torchrun with gloo on the CPU: every rank's figures against closed forms, and nothing changed.

The model is Linear(64, 512), Linear(512, 512), Linear(512, 8): 300,040 parameters, float32, Adam. The last rank has a
batch of 64, the others of 32.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from memtop.model import categories

ROOT = Path(__file__).parents[2]
RANKED = Path(__file__).parent / "programs/ranked.py"
LIMIT = 120
STEPS = 4
WHOLE = 4 * 300_040
LAST_LAYER = 4 * (512 * 8 + 8)
LOSS = 4

Log = list[dict[str, Any]]


def launch(kind: str, ranks: int, folder: Path, *, watched: bool, dies: int | None = None) -> tuple[int, str, Path]:
    """The status, what was said on stderr, and the folder with the log."""
    folder.mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    command += [
        str(RANKED),
        kind,
        str(STEPS if dies is None else dies + 1),
        str(folder),
        *([] if dies is None else [str(dies)]),
    ]
    if watched:
        log = str(folder / "log.jsonl")
        command = [sys.executable, "-m", "memtop", "run", "--headless", "--log", log, "--", *command]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    return done.returncode, done.stderr, folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, Path]]:
    """DDP on two ranks and FSDP2 on four, watched and not, and a rank that dies."""
    pytest.importorskip("torch.distributed.fsdp", reason="ranks need torch.distributed")
    place = tmp_path_factory.mktemp("ranks")
    wanted: dict[str, tuple[str, int, bool, int | None]] = {
        "ddp": ("ddp", 2, True, None),
        "fsdp": ("fsdp", 4, True, None),
        "plain ddp": ("ddp", 2, False, None),
        "plain fsdp": ("fsdp", 4, False, None),
        "dies": ("ddp", 2, True, 300),  # What the probe has not sent yet is lost: it does so four times a second.
    }
    with ThreadPoolExecutor(2) as pool:
        begun = {
            name: pool.submit(launch, kind, ranks, place / name.replace(" ", "-"), watched=watched, dies=dies)
            for name, (kind, ranks, watched, dies) in wanted.items()
        }
    return {name: one.result() for name, one in begun.items()}


def log_of(runs: dict[str, tuple[int, str, Path]], name: str) -> Log:
    return [json.loads(line) for line in (runs[name][2] / "log.jsonl").read_text().splitlines()]


def at(log: Log, rank: int, moment: str, step: int = 2) -> dict[str, int]:
    (found,) = [
        record["bytes"]
        for record in log
        if record["kind"] == "memory" and (record["rank"], record["moment"], record["step"]) == (rank, moment, step)
    ]
    sizes: dict[str, int] = found
    return sizes


@pytest.mark.parametrize(("name", "ranks"), [("ddp", 2), ("fsdp", 4)])
def test_every_rank_computes_what_it_would_have_computed(
    runs: dict[str, tuple[int, str, Path]], name: str, ranks: int
) -> None:
    status, err, folder = runs[name]
    plain = runs[f"plain {name}"]
    assert (status, plain[0]) == (0, 0), err + plain[1]
    for rank in range(ranks):
        file = f"{name}{ranks}-{rank}"
        assert (folder / file).read_text() == (plain[2] / file).read_text()


@pytest.mark.parametrize(("name", "ranks"), [("ddp", 2), ("fsdp", 4)])
def test_the_parts_of_each_rank_are_the_whole(runs: dict[str, tuple[int, str, Path]], name: str, ranks: int) -> None:
    log = log_of(runs, name)
    seen = [record for record in log if record["kind"] == "memory"]
    assert {record["rank"] for record in seen} == set(range(ranks))
    for record in seen:
        assert record["device_total"] == sum(size for size in record["bytes"].values() if size is not None)
    for rank in range(ranks):
        peak = at(log, rank, "peak")
        assert abs(peak["other_tensors"]) <= 0.02 * sum(peak[name] for name in categories.TENSORS)
        steps = [record for record in log if (record["kind"], record["rank"]) == ("step", rank)]
        assert sum(record["steps"] for record in steps) == STEPS


@pytest.mark.parametrize("name", ["ddp", "fsdp"])
def test_no_rank_has_the_memory_of_another(runs: dict[str, tuple[int, str, Path]], name: str) -> None:
    log = log_of(runs, name)
    told = [record for record in log if record["kind"] == "device" and record["processes"]]
    assert told
    for sample in told:
        assert sum(one["bytes"] for one in sample["processes"]) <= sample["tree_pss"]
        assert len({one["name"] for one in sample["processes"]}) == len(sample["processes"])
    most: dict[str, int] = {}
    for one in (one for sample in told for one in sample["processes"]):
        most[one["name"]] = max(most.get(one["name"], 0), one["bytes"])
    for record in log:
        if record["kind"] == "memory" and record["bytes"]["runtime"] is not None:
            assert record["bytes"]["runtime"] <= most[f"rank {record['rank']}"], "its process, not all of them"


def test_buckets_are_gradients(runs: dict[str, tuple[int, str, Path]]) -> None:
    log = log_of(runs, "ddp")
    for rank, batch in ((0, 32), (1, 64)):
        end = at(log, rank, "backward_end")
        # DDP aligns what it puts into a bucket; the gradients themselves are 1,200,160 bytes.
        assert 2 * WHOLE <= end["gradients"] <= 2 * WHOLE + 4096
        assert (end["parameters"], end["optimizer_state"]) == (WHOLE, 2 * WHOLE + 6 * 4)
        extra = at(log, rank, "forward_end")["activations"] - (2 * batch * 512 * 4 + batch * 8 * 4 + 4 + LOSS)
        assert extra in (0, 8), "a whole number of the reducer's own may still be there"
        later = [record for record in log if record["kind"] == "memory" and record["rank"] == rank]
        later = [record for record in later if record["step"] > 2 and record["moment"] == "step_end"]
        assert all(record["bytes"]["gradients"] == end["gradients"] for record in later), "known from the look on"


def test_shards_are_counted_by_their_local_bytes(runs: dict[str, tuple[int, str, Path]]) -> None:
    log = log_of(runs, "fsdp")
    for rank in range(4):
        batch = 64 if rank == 3 else 32
        forward, end = at(log, rank, "forward_end"), at(log, rank, "step_end")
        for sizes in (forward, end):
            assert sizes["parameters"] == WHOLE // 4
        assert end["gradients"] == WHOLE // 4
        assert end["optimizer_state"] == 2 * WHOLE // 4 + 6 * 4
        more = forward["activations"] - (2 * batch * 512 * 4 + batch * 8 * 4 + 4 + LOSS)
        # As without sharding, but for a gathered layer that the process group's thread may not have let go of yet.
        assert more in (0, 4 * (512 * 512 + 512))
        assert forward["temporaries"] == LAST_LAYER, "the root's own layer stays whole until backward"
        assert at(log, rank, "peak")["temporaries"] >= 4 * 512 * 512, "a layer is gathered for its use"
        (model,) = [record for record in log if (record["kind"], record["rank"]) == ("model", rank)]
        assert (model["parameters"], model["bytes"]["parameters"]) == (300_040, WHOLE // 4)


def test_the_end_and_the_last_words_name_ranks(runs: dict[str, tuple[int, str, Path]]) -> None:
    end = log_of(runs, "ddp")[-1]
    assert [(one["rank"], one["steps"], one["lost_at"]) for one in end["ranks"]] == [(0, STEPS, None), (1, STEPS, None)]
    assert end["peak"]["cpu"]["tensors"] == max(one["tensors"] for one in end["ranks"])
    assert "2 ranks: highest" in runs["ddp"][1]
    assert "on rank 1, spread" in runs["ddp"][1]


def test_a_rank_that_dies_is_named(runs: dict[str, tuple[int, str, Path]]) -> None:
    status, err, _ = runs["dies"]
    assert status == 1, err
    lost = {one["rank"]: one["lost_at"] for one in log_of(runs, "dies")[-1]["ranks"]}
    assert lost[1] is not None
    assert lost[0] is None or lost[0] >= lost[1], "torchrun ends the others after it"
    assert "rank 1 was gone after" in err
