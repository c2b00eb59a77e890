"""Records what torch's CUDA caching allocator answers to courses of requests: fixtures of `test_caching_recorded.py`.

`python -m tests.fake_cuda.record_allocator` with a CUDA build of torch. Without a GPU the allocator runs over the
stand-in for the CUDA runtime; with MEMTOP_REAL_CUDA=1 over this machine's own. Its requests are those of random courses
and of real trainings (taken from torch's own record of them), its answers the counters after each.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.fake_cuda.builder import create

MIB = 2**20
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "allocator"
FOLDER = Path(os.environ.get("MEMTOP_RECORD_ALLOCATOR", FIXTURES))
COUNTERS = ("requested", "allocated", "active", "reserved", "split", "segments", "taken", "retries", "ooms")
"""`split`: `inactive_split_bytes`; `segments`: their number now; `taken`: calls of the driver for memory so far."""
Call = int
"""Bytes that are asked for; `-n`: the nth of what is alive is given back, from 1; `EMPTY`: the cache is."""
EMPTY = -(10**9)
CASES: dict[str, tuple[str, float, int, str]] = {
    "plain": ("", 0, 8192, "random"),
    "short": ("", 0, 2048, "random"),
    "capped": ("", 0.2, 8192, "random"),
    "unsplit": ("max_split_size_mb:64", 0, 2048, "random"),
    "unsplit_capped": ("max_split_size_mb:24,max_non_split_rounding_mb:30", 0.2, 8192, "random"),
    "divisions": ("roundup_power2_divisions:[1:2,8:8,64:4,>:1]", 0.2, 8192, "random"),
    "collected": ("garbage_collection_threshold:0.4,max_split_size_mb:64", 0.3, 8192, "random"),
    "expandable": ("expandable_segments:True", 0, 8192, "random"),
    "expandable_short": ("expandable_segments:True", 0, 2048, "random"),
    "expandable_capped": ("expandable_segments:True", 0.2, 8192, "random"),
    "cnn": ("", 0, 8192, "cnn"),
    "transformer": ("", 0, 8192, "transformer"),
    "transformer_expandable": ("expandable_segments:True", 0, 8192, "transformer"),
}
"""Name: settings, share of the device (0: no cap), MiB of the device, where the requests come from."""


def random_course(seed: int, calls: int = 500) -> Iterator[Call]:
    """Sizes of all kinds; about as much is given back as is taken."""
    rng, alive = random.Random(seed), 0
    for _ in range(calls):
        choice = rng.random()
        if choice > 0.985:
            yield EMPTY
        elif choice < 0.56 or not alive:
            alive += 1
            top = rng.choice([4096, 4096, MIB, MIB, 10 * MIB, 10 * MIB, 100 * MIB, 100 * MIB, 700 * MIB])
            yield rng.randint(top // 64 + 1, top)
        else:
            yield -rng.randint(1, alive)
            alive -= 1


def course_of_training(name: str) -> list[Call]:
    """What three steps of a training asked of the allocator, by torch's record. Runs in the process that trains."""
    import torch
    from torch import nn

    torch.cuda.memory._record_memory_history(max_entries=1_000_000, stacks="python")
    if name == "cnn":
        layers: list[Any] = []
        for before, after in ((3, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
        model: Any = nn.Sequential(*layers, nn.Flatten(), nn.Linear(2048, 10)).cuda()
        shape: tuple[int, ...] = (64, 3, 32, 32)
    else:
        layer = nn.TransformerEncoderLayer(128, 4, 512, batch_first=True)
        model, shape = nn.Sequential(nn.TransformerEncoder(layer, 2), nn.Linear(128, 100)).cuda(), (16, 64, 128)
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        x = torch.zeros(shape).cuda()
        logits = model(x)
        loss = nn.functional.cross_entropy(logits.flatten(0, -2), torch.zeros(logits[..., 0].numel(), dtype=int).cuda())
        loss.backward()
        optimizer.step()
    alive: list[int] = []
    course = []
    for entry in torch.cuda.memory._snapshot()["device_traces"][0]:
        if entry["action"] == "alloc":
            alive.append(entry["addr"])
            course.append(entry["size"])
        elif entry["action"] == "free_completed":
            place = alive.index(entry["addr"])
            course.append(-(place + 1))
            del alive[place]
    return course


def played(course: list[Call], share: float) -> dict[str, Any]:
    """The course as it went, and the counters after each call. A request that there is no memory for hands nothing out,
    so what a later call gives back may be another than was meant."""
    import torch

    torch.cuda.init()
    total = torch.cuda.get_device_properties(0).total_memory
    if share:
        torch.cuda.set_per_process_memory_fraction(share)
    limit = int(share * total) if share else torch.cuda.mem_get_info()[0]
    alive: list[int] = []
    calls, answers = [], []
    for call in course:
        if call == EMPTY:
            torch.cuda.empty_cache()
        elif call > 0:
            with contextlib.suppress(torch.OutOfMemoryError):
                alive.append(torch._C._cuda_cudaCachingAllocator_raw_alloc(call, 0))
        elif alive:
            call = -((-call - 1) % len(alive) + 1)
            torch._C._cuda_cudaCachingAllocator_raw_delete(alive.pop(-call - 1))
        else:
            continue
        calls.append(call)
        answers.append(_counters(torch._C._cuda_memoryStats(0)))
    return {"limit": limit, "total": total, "calls": calls, "answers": answers}


def _counters(stats: dict[str, Any]) -> list[int]:
    names = ("requested_bytes", "allocated_bytes", "active_bytes", "reserved_bytes", "inactive_split_bytes", "segment")
    ends = (stats["num_device_alloc"], stats["num_alloc_retries"], stats["num_ooms"])
    return [*(stats[name]["all"]["current"] for name in names), *ends]


def record(name: str) -> None:
    """One fixture, in the process that has the device."""
    import torch

    conf, share, _, kind = CASES[name]
    course = list(random_course(len(name))) if kind == "random" else json.loads(os.environ["COURSE"])
    over = "a stand-in for the CUDA runtime, without a GPU" if os.environ.get("FAKE_CUDA_LEDGER") else "a GPU"
    facts = {"made": f"torch {torch.__version__}'s CUDACachingAllocator over {over}", "conf": conf, "capped": share > 0}
    told = facts | {"requests": kind, "counters": COUNTERS} | played(course, share)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with gzip.GzipFile(FOLDER / f"{name}.json.gz", "wb", mtime=0) as file:
        file.write(json.dumps(told).encode())
    print(f"{name}: {len(told['calls'])} calls, {told['answers'][-1][-1]} OOMs, {told['answers'][-1][3]:,} B reserved")


def main() -> None:
    """Each fixture in a process of its own."""
    if sys.argv[1:2] == ["--course"]:
        return print(json.dumps(course_of_training(sys.argv[2])))
    if sys.argv[1:]:
        return record(sys.argv[1])
    for name, (conf, _, mebibytes, kind) in CASES.items():
        env = dict(os.environ)
        if not os.environ.get("MEMTOP_REAL_CUDA"):
            env = create(Path(tempfile.mkdtemp(prefix="fake-cuda-")), memory=mebibytes * MIB).env()
        command = [sys.executable, "-W", "ignore", "-m", "tests.fake_cuda.record_allocator"]
        if kind != "random":
            done = subprocess.run([*command, "--course", kind], env=env, check=True, stdout=subprocess.PIPE, text=True)
            env["COURSE"] = done.stdout.splitlines()[-1]
        env |= {"PYTORCH_CUDA_ALLOC_CONF": conf, "TORCH_CPP_LOG_LEVEL": "ERROR"}
        subprocess.run([*command, name], env=env, check=True)
    return None


if __name__ == "__main__":
    main()
