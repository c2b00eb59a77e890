"""How many trials `memtop fit` takes, against doubling and bisecting, and whether its answer is the largest.

`OMP_NUM_THREADS=1 python tests/bench/bench_fit.py [NAME[=LIMIT] ...] [--steps N]`. Each answer is proved by real
runs: its own peak is within the limit, that of the next batch is above it (`over`; the same two batches are run once
more, by themselves). Doubling and bisecting knows of each trial only whether it fits; its trials are counted by playing
the search on the functions that the answer's deep look measured. On the CPU.

`--device cuda`: the limit is a cap on torch's reserve, and what does not fit runs out of memory. The answer's neighbour
from above is that which was tried; how far it is away is what may have been given away.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memtop.model.forecast import Affine, peak_at
from memtop.model.search import Search, Tried
from memtop.model.units import parse_size, size

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "tests" / "bench" / "models" / "sized.py"


@dataclass(frozen=True)
class Case:
    """What is fitted into how much: a scenario with its settings, or a model of `models/sized.py`."""

    limit: str
    settings: tuple[str, ...] = ()
    model: bool = False
    """Whether it is fitted by a flag of its own."""

    def fit(self, name: str, device: str) -> list[str]:
        """The words after `memtop fit`, but for those about the search."""
        if self.model:
            return ["--flag", "--batch-size", "--", sys.executable, str(MODELS), name]
        return ["--scenario", name, "--device", device, *self._set]

    def run(self, name: str, batch: int) -> list[str]:
        """The words after `memtop` that run one batch by itself."""
        log = ["--log", "-", "--steps", "3"]
        if self.model:
            return ["run", "--headless", *log, "--", sys.executable, str(MODELS), name, "--batch-size", str(batch)]
        alone = ["--set", "phase_steps=3"] if name in ("oom", "optimizers", "precision", "image-size") else []
        size = ["--batch-size", str(batch)]
        return ["--scenario", name, "--headless", "--device", "cpu", *log, *size, *self._set, *alone]

    @property
    def _set(self) -> list[str]:
        return [word for one in self.settings for word in ("--set", one)]


CASES = {
    "mlp-mnist": Case("8MiB"),
    "mlp-cifar": Case("64MiB"),
    "cnn": Case("256MiB"),
    "deep-stack": Case("16MiB"),
    "tensor-tracker": Case("384MiB"),
    "iris": Case("1MiB"),
    "optimizers": Case("32MiB", ("optimizer=adam",)),
    "precision": Case("96MiB", ("precision=bf16",)),
    "image-size": Case("64MiB", ("remedy=none",)),
    "transformer": Case("256MiB"),
    "oom": Case("128MiB"),
    "resnet18": Case("384MiB", model=True),
    "unet": Case("256MiB", model=True),
    "gpt": Case("384MiB", model=True),
    "lstm": Case("192MiB", model=True),
    "vit": Case("256MiB", model=True),
    "gan": Case("128MiB", model=True),
}
"""Eleven scenarios (`batch-size` has no batch that can be set alone) and six models."""
ON_CUDA = {"mlp-cifar": "256MiB", "cnn": "2GiB", "deep-stack": "256MiB", "transformer": "2GiB"}


def said(words: list[str]) -> subprocess.CompletedProcess[str]:
    """memtop with these words."""
    return subprocess.run([sys.executable, "-m", "memtop", *words], capture_output=True, text=True, timeout=900)


def fit(name: str, case: Case, limit: str, steps: int, device: str = "cpu") -> dict[str, Any]:
    """What `memtop fit` says."""
    done = said(["fit", "--memory", limit, "--steps", str(steps), "--json", *case.fit(name, device)])
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def peak(name: str, case: Case, batch: int) -> int:
    """The highest tensor bytes of the looked-at step in a run of its own."""
    told = [json.loads(line) for line in said(case.run(name, batch)).stdout.splitlines() if line.startswith("{")]
    return max(int(one["allocated"]) for one in told if one["kind"] == "memory" and one["moment"] == "peak")


def on_cuda(cases: dict[str, str], steps: int) -> None:
    """The table of a GPU, or of torch's allocator over a stand-in for the CUDA runtime."""
    if os.environ.get("FAKE_CUDA_LEDGER"):
        print(
            "torch's own CUDA allocator over a stand-in for the runtime, no GPU: OOMs are its own, speeds mean nothing"
        )
    print("    scenario       limit    largest    tensors   reserved  runs out at   away  trials  seconds")
    for name, asked in cases.items():
        began = time.perf_counter()
        found = fit(name, CASES[name], asked, steps, "cuda")
        took, limit, best = time.perf_counter() - began, parse_size(asked), found["batch_size"]
        trial = next(one for one in found["trials"] if one["batch_size"] == best)
        over = None if found["next"] is None else found["next"]["batch_size"]
        away = "-" if over is None else f"{(over - best) / over:.1%}"
        shares = [f"{one / limit:9.1%}" for one in (found["peak_bytes"], trial["reserved_bytes"])]
        counts = f"{over or 0:11,}  {away:>5}  {len(found['trials']):6}  {took:7.1f}"
        print(f"{name:>12}  {size(limit):>10}  {best:9,}  {'  '.join(shares)}  {counts}", flush=True)


def plain(lines: tuple[Affine, ...], limit: int) -> int:
    """How many trials doubling and bisecting takes where a batch has this peak."""
    search, count = Search(limit), 0
    while (batch := search.next()) is not None:
        search.add(Tried(batch_size=batch, fits=peak_at(lines, batch) <= limit))
        count += 1
    return count


def main() -> None:
    """Run them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="NAME[=LIMIT]", help=f"of {', '.join(CASES)}; all")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    given = parser.parse_args()
    cases = dict(case.partition("=")[::2] for case in given.cases)
    if given.device == "cuda":
        return on_cuda({name: limit or ON_CUDA[name] for name, limit in (cases or ON_CUDA).items()}, given.steps)
    head = ("case", "limit", "largest", "of limit", "next: over", "trials", "plain", "seconds")
    widths = (14, 10, 9, 9, 10, 6, 6, 8)
    print("  ".join(f"{word:>{width}}" for word, width in zip(head, widths, strict=True)))
    for name, asked in (cases or dict.fromkeys(CASES, "")).items():
        case = CASES[name]
        limit = parse_size(asked or case.limit)
        began = time.perf_counter()
        found = fit(name, case, asked or case.limit, given.steps)
        took = time.perf_counter() - began
        best = found["batch_size"]
        trial = next(one for one in found["trials"] if one["batch_size"] == best)
        lines = tuple(Affine(**line) for line in trial["lines"])
        here, over = peak(name, case, best), peak(name, case, best + 1)
        right = here <= limit < over
        row = (
            name,
            size(limit),
            f"{best:,}",
            f"{100 * here / limit:.2f} %",
            f"{over - limit:+,} B" if right else "WRONG",
            str(len(found["trials"])),
            str(plain(lines, limit)),
            f"{took:.1f}",
        )
        print("  ".join(f"{word:>{width}}" for word, width in zip(row, widths, strict=True)), flush=True)
    return None


if __name__ == "__main__":
    main()
