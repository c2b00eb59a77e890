"""Programs that know nothing of memtop, with it and without: are they the same, what is seen, what does it cost?

`python tests/bench/bench_zoo.py --python PYTHON [--only NAME ...] [--seconds 10] [--pairs 3]`, where PYTHON has what
zoo/requirements.txt lists. Each program runs as often as it takes to last that long, with and without `memtop run`,
interleaved, with one thread; the ratio is the median over the pairs of the time from `import torch` to the end of the
training. The first look, which is announced and stands outside the budget, is in it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ZOO = Path(__file__).with_name("zoo")
RANKED = ("ddp", "fsdp")
"""Those that run under torchrun."""
TRIAL = 30
"""Steps of the run that tells how many steps last long enough."""
TENSORS = ("parameters", "buffers", "gradients", "optimizer_state", "inputs", "activations", "temporaries")
_CLOCK = re.compile(r"^[WI]\d{4} [^\]]*\]|'train_runtime'.*?'train_loss'", re.MULTILINE)
"""What tells the time, or a process's number."""


class Program:
    """One of them, under a Python."""

    def __init__(self, name: str, python: str, folder: Path) -> None:
        self.name, self._python, self._folder = name, python, folder

    def run(self, steps: int, *, watched: bool) -> tuple[int, str, str, float]:
        """(status, stdout, stderr, seconds of training)."""
        seconds = self._folder / "seconds"
        seconds.unlink(missing_ok=True)
        words = [self._python, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
        words = [*(words if self.name in RANKED else words[:1]), str(ZOO / f"{self.name}.py"), str(steps)]
        if watched:
            self.log.unlink(missing_ok=True)
            words = [sys.executable, "-m", "memtop", "run", "--headless", "--log", str(self.log), "--", *words]
        env = {**os.environ, "ZOO_SECONDS": str(seconds), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=900)
        took = float(seconds.read_text()) if seconds.exists() else float("nan")
        return done.returncode, done.stdout, done.stderr, took

    @property
    def log(self) -> Path:
        """Where the last watched run wrote."""
        return self._folder / f"{self.name}.jsonl"

    def records(self) -> list[dict[str, Any]]:
        """The lines of that log."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def peak(records: list[dict[str, Any]]) -> dict[str, int] | None:
    """The categories of the last deep look's peak."""
    peaks = [r["bytes"] for r in records if r["kind"] == "memory" and r["moment"] == "peak" and r["tier"] == "deep"]
    return peaks[-1] if peaks else None


def row(program: Program, seconds: float, pairs: int) -> None:
    """Print what one program showed."""
    _, _, error, trial = program.run(TRIAL, watched=False)
    if trial != trial:
        print(f"{program.name:<14} does not run here: {error.strip().splitlines()[-1:]}")
        return
    steps = max(TRIAL, int(TRIAL * seconds / trial))
    ratios, same = [], True
    for _ in range(pairs):
        plain, ours = program.run(steps, watched=False), program.run(steps, watched=True)
        ratios.append(ours[3] / plain[3])
        words = ours[2].partition("memtop: ")[0]
        same = same and plain[0] == ours[0]
        same = same and all(_CLOCK.sub("", a) == _CLOCK.sub("", b) for a, b in ((plain[1], ours[1]), (plain[2], words)))
    found, end = peak(program.records()), program.records()[-1]
    print(
        f"{program.name:<14} {steps:>6} steps  same {'yes' if same else 'NO '}  ratio {statistics.median(ratios):.3f}",
        end="",
    )
    print(f"  booked {end['overhead_percent']} %, {end.get('announced_seconds')} s announced")
    if found is None:
        print("    no deep look")
        return
    live = sum(found[name] or 0 for name in (*TENSORS, "other_tensors"))
    print("    " + ", ".join(f"{name} {found[name]:,}" for name in TENSORS if found[name]), end="")
    print(
        f"; other_tensors {found['other_tensors']:,} ({100 * (found['other_tensors'] or 0) / live:.2f} %)", flush=True
    )


def main() -> None:
    """Print two lines a program."""
    names = sorted(path.stem for path in ZOO.glob("*.py") if path.stem != "digest")
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--only", nargs="*", choices=names, default=names)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--pairs", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in given.only:
            row(Program(name, given.python, Path(folder)), given.seconds, given.pairs)


if __name__ == "__main__":
    main()
