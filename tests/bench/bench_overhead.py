"""What the probe costs a training, sustained: the same script with and without it, medians over interleaved slices.

`python tests/bench/bench_overhead.py [MODEL ...] [--seconds 60] [--slice 3] [--overhead 1] [--rounds 1]`.

Two processes train the same model, one thread each, one of them watched. They take turns: one is stopped by a signal
while the other runs for a slice, so that both meet the same weather on the machine. The steps of the first seconds,
with the announced looks, do not count, nor does the one that a stop falls into, nor the few after it, while caches warm
up. `--seconds` is the time that each of them trains. A stop lets time pass for the probe in which nothing was spent, so
that it may look once more in each slice than it would otherwise: the figure is, if anything, too high.

Two processes of one script differ for their whole lives, by where their memory happens to lie: by up to 2 % a step of
1 ms, with no probe in either. `--control` shows it: both sides run without. A figure to rely on takes `--rounds 15`.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from bisect import bisect_right
from pathlib import Path

from memtop.launcher import manifests
from memtop.launcher.target import Address, environment

HERE = Path(__file__).parent
ENDLESS = 100_000_000
WARM = 5
"""Steps after a stop that do not count."""
SETTLED = 4.0
"""Seconds of training before the first slice: torch's own first steps, and the announced looks."""


def models() -> dict[str, list[str]]:
    """Command lines by name, without the Python."""
    scenarios = {
        "mlp-mnist": ("mlp-mnist", {"optimizer": "adam"}),
        "mlp-cifar": ("mlp-cifar", {"optimizer": "adam"}),
        "cnn": ("cnn", {"optimizer": "adam"}),
        "deep-stack": ("deep-stack", {"optimizer": "adam"}),
        "deep-stack, 2 segments": ("deep-stack", {"optimizer": "adam", "checkpoint": "segments=2"}),
    }
    lines = {name: _scenario(*scenario) for name, scenario in scenarios.items()}
    own = ((path.stem, [str(path), "--steps", str(ENDLESS)]) for path in sorted((HERE / "models").glob("*.py")))
    return lines | dict(own)


def _scenario(name: str, given: dict[str, str]) -> list[str]:
    manifest = manifests.load(name)
    settings = manifests.resolve(manifest, {"steps": ENDLESS, "device": "cpu", **given})
    return [part for part in manifests.command(manifest, settings, sys.executable)[1:] if part != "-u"]


class Side:
    """One of the two processes."""

    def __init__(self, line: list[str], out: Path, overhead: float | None) -> None:
        """`overhead`: percent that the probe may take; `None` runs without a probe."""
        self._out = out
        self.heard = 0
        """Bytes that the probe has sent."""
        self.slices: list[tuple[int, int]] = []
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._address = None if overhead is None else Address()
        if self._address is not None and overhead is not None:
            env = environment(env, self._address.path, overhead)
            threading.Thread(target=self._listen, args=(self._address,), daemon=True).start()
        command = [sys.executable, str(HERE / "timed.py"), str(out), *line]
        self._process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, start_new_session=True)

    def _listen(self, address: Address) -> None:
        address.listener.setblocking(True)
        link, _ = address.listener.accept()
        while chunk := link.recv(1 << 16):
            self.heard += len(chunk)

    def run(self, seconds: float) -> None:
        """Let it train for so long; it stands still outside."""
        self._process.send_signal(signal.SIGCONT)
        began = time.monotonic_ns()
        time.sleep(seconds)
        self._process.send_signal(signal.SIGSTOP)
        self.slices.append((began, time.monotonic_ns()))

    def finish(self) -> list[list[float]]:
        """End it; seconds of each step, by slice."""
        self._process.send_signal(signal.SIGUSR1)
        self._process.send_signal(signal.SIGCONT)
        self._process.wait(60)
        if self._address is not None:
            self._address.close()
        times = array("q")
        times.frombytes(self._out.read_bytes())
        return [_steps(times, *each) for each in self.slices]


def _steps(times: array[int], began: int, ended: int) -> list[float]:
    """Seconds of the steps that lie whole between two instants, the first few left out."""
    inside = times[bisect_right(times, began) + WARM : bisect_right(times, ended)]
    return [(after - before) / 1e9 for before, after in itertools.pairwise(inside)]


def compare(
    line: list[str], seconds: float, slice_: float, overhead: float | None
) -> list[tuple[list[float], list[float]]]:
    """Steps without and with the probe, slice by slice."""
    with tempfile.TemporaryDirectory() as folder:
        sides = [Side(line, Path(folder, name), at) for name, at in (("without", None), ("with", overhead))]
        for side in sides:
            side.run(SETTLED + 4)  # What it takes to import torch is not training yet.
            side.slices.clear()
        for number in range(round(seconds / slice_)):
            for side in sides if number % 2 else reversed(sides):
                side.run(slice_)
        without, watched = (side.finish() for side in sides)
        assert overhead is None or sides[1].heard, "the probe said nothing: this would measure nothing"
    return [pair for pair in zip(without, watched, strict=True) if all(len(steps) > 1 for steps in pair)]


def describe(name: str, pairs: list[tuple[list[float], list[float]]]) -> str:
    """One line of the table."""
    if not pairs:
        return f"{name:24} no slice held two whole steps of both: take a longer --slice"
    means = [[statistics.fmean(steps) for steps in pair] for pair in pairs]
    medians = [[statistics.median(steps) for steps in pair] for pair in pairs]
    ratios = sorted(watched / without for without, watched in means)
    total = [sum(sum(pair[side]) for pair in pairs) / sum(len(pair[side]) for pair in pairs) for side in (0, 1)]
    quarter = len(ratios) // 4
    return (
        f"{name:24} {statistics.median(without for without, _ in means) * 1e3:10.3f}"
        f" {statistics.median(ratios):8.4f} {ratios[quarter]:8.4f} {ratios[-1 - quarter]:8.4f}"
        f" {statistics.median(b / a for a, b in medians):8.4f} {total[1] / total[0]:8.4f} {len(ratios):6}"
    )


def main() -> None:
    """Print the table."""
    known = models()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(known)}; all unless given")
    parser.add_argument("--seconds", type=float, default=60, help="training time of each side")
    parser.add_argument("--slice", type=float, default=3, help="seconds between two turns")
    parser.add_argument("--overhead", type=float, default=1.0, help="the budget, percent")
    parser.add_argument("--rounds", type=int, default=1, help="pairs of fresh processes")
    parser.add_argument("--control", action="store_true", help="no probe on either side")
    given = parser.parse_args()
    budget = None if given.control else given.overhead
    print("without the probe, ms a step; with / without: median over slices of the ratio of mean steps, its quartiles,")
    print("median over slices of the ratio of median steps, ratio of all the time; slices")
    print(f"{'model':24} {'ms':>10} {'ratio':>8} {'q1':>8} {'q3':>8} {'medians':>8} {'total':>8} {'slices':>6}")
    for name in given.models or known:
        pairs = []
        for _ in range(given.rounds):
            pairs += compare(known[name], given.seconds, given.slice, budget)
        print(describe(name, pairs), flush=True)


if __name__ == "__main__":
    main()
