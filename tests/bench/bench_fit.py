"""How many trials `memtop fit` takes, against doubling and bisecting, and whether its answer is the largest.

`OMP_NUM_THREADS=1 python tests/bench/bench_fit.py [NAME[=LIMIT] ...] [--steps N]`. Each answer is proved by real
runs: its own peak is within the limit, that of the next batch is above it (`over`; the same two batches are run once
more, by themselves). Doubling and bisecting knows of each trial only whether it fits; its trials are counted by playing
the search on the functions that the answer's deep look measured. On the CPU.
"""

from __future__ import annotations

import argparse
import json
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

    def fit(self, name: str) -> list[str]:
        """The words after `memtop fit`, but for those about the search."""
        if self.model:
            return ["--flag", "--batch-size", "--", sys.executable, str(MODELS), name]
        return ["--scenario", name, "--device", "cpu", *self._set]

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


def said(words: list[str]) -> subprocess.CompletedProcess[str]:
    """memtop with these words."""
    return subprocess.run([sys.executable, "-m", "memtop", *words], capture_output=True, text=True, timeout=900)


def fit(name: str, case: Case, limit: str, steps: int) -> dict[str, Any]:
    """What `memtop fit` says."""
    done = said(["fit", "--memory", limit, "--steps", str(steps), "--json", *case.fit(name)])
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def peak(name: str, case: Case, batch: int) -> int:
    """The highest tensor bytes of the looked-at step in a run of its own."""
    told = [json.loads(line) for line in said(case.run(name, batch)).stdout.splitlines() if line.startswith("{")]
    return max(int(one["allocated"]) for one in told if one["kind"] == "memory" and one["moment"] == "peak")


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
    given = parser.parse_args()
    cases = dict(case.partition("=")[::2] for case in given.cases) or dict.fromkeys(CASES, "")
    head = ("case", "limit", "largest", "of limit", "next: over", "trials", "plain", "seconds")
    widths = (14, 10, 9, 9, 10, 6, 6, 8)
    print("  ".join(f"{word:>{width}}" for word, width in zip(head, widths, strict=True)))
    for name, asked in cases.items():
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


if __name__ == "__main__":
    main()
