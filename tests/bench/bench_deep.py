"""One deep step against an ordinary one, in one process, the ways of looking taking turns.

`python tests/bench/bench_deep.py [MODEL ...] [--rounds 9] [--stacks 250,500,1000,2000] [--rivals-seconds 60]`.

`ours` is the probe itself with nobody at the other end: its hooks, a deep look at one step, and working out what was
seen (`analysis` is that part alone, as a share of an ordinary step). `MemTracker` is torch.distributed's, entered and
left around a step; `profiler` is `torch.profiler` with `profile_memory=True`, its stop included. Each round runs a few
ordinary steps, then one step each way, one after another. Figures are medians of times over the median ordinary step.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from memtop.probe import runtime

sys.path.insert(0, str(Path(__file__).parent / "models"))

ORDINARY = 3
"""Ordinary steps a round."""
Step = Callable[[], None]


class Training:
    """A model, its optimizer and one batch."""

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer | None = None) -> None:
        self.model, self.x, self.y = model, x, y
        self.optimizer = optimizer or torch.optim.Adam(model.parameters(), lr=1e-5)
        self.loss = nn.CrossEntropyLoss()

    def step(self) -> None:
        """One step of training."""
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(self.model(self.x).flatten(0, -2), self.y.flatten()).backward()
        self.optimizer.step()


def mlp() -> Training:
    """3072-128-10, 64 samples, Adam."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 128), nn.ReLU(), nn.Linear(128, 10))
    return Training(model, torch.randn(64, 3, 32, 32), torch.randint(0, 10, (64,)))


def cnn() -> Training:
    """Three blocks of convolution, BatchNorm, ReLU and max pool; 64 samples, Adam."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(2048, 10))
    return Training(model, torch.randn(64, 3, 32, 32), torch.randint(0, 10, (64,)))


def resnet() -> Training:
    """`models/resnet.py`."""
    from resnet import resnet as build

    model = build()
    momentum = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    return Training(model, torch.randn(16, 3, 32, 32), torch.randint(0, 10, (16,)), momentum)


def transformer() -> Training:
    """`models/transformer.py`."""
    from transformer import LENGTH, WORDS, Language

    model = Language()
    adamw = torch.optim.AdamW(model.parameters(), lr=1e-4)
    x, y = (torch.randint(0, WORDS, (16, LENGTH)) for _ in range(2))
    return Training(model, x, y, adamw)


def stack(depth: int) -> Callable[[], Training]:
    """`depth` layers of 10 x 10, 32 samples, Adam."""

    def build() -> Training:
        layers = nn.Sequential(*(nn.Linear(10, 10) for _ in range(depth)))
        return Training(layers, torch.randn(32, 10), torch.randint(0, 10, (32,)))

    return build


class Nobody:
    """A monitor that takes every record and says nothing."""

    alive, spent_ns, dropped = True, 0, 0
    last_words: Any = None
    tick: Any = None

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def send(self, record: dict[str, Any]) -> None:
        """Keep a record."""
        self.records.append(record)

    def flush(self) -> None:
        """Nothing waits."""

    def command(self) -> None:
        """No command."""


class Ours:
    """The probe, without a budget: it looks when it is asked."""

    def __init__(self) -> None:
        self.link = Nobody()
        self._probe = runtime.Probe(self.link, 0.0)  # type: ignore[arg-type]
        self._probe.begin()

    def ask(self) -> None:
        """The end of the next step puts a deep look around the one after it."""
        self.link.records.clear()
        self._probe._governor.ask_deep()
        self._probe._steps.look_at = 0

    def deep_step(self, step: Step) -> tuple[float, float]:
        """Seconds of one deep step, and of working out what it saw, a part of them."""
        looks = self._probe._governor.looks
        seconds = timed(step)
        peaks = [one for one in self.link.records if one["kind"] == "memory" and one["moment"] == "peak"]
        words = [one for one in self.link.records if "message" in one]
        assert self._probe._governor.looks == looks + 1, words
        assert peaks, words
        return seconds, self._probe._governor._deep_more / 1e9


def timed(step: Step) -> float:
    """Seconds of one step."""
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def with_mem_tracker(training: Training) -> float:
    """Seconds of a step under MemTracker."""
    from torch.distributed._tools.mem_tracker import MemTracker

    began = time.perf_counter()
    tracker = MemTracker()
    tracker.track_external(training.model, training.optimizer)
    with tracker:
        training.step()
    return time.perf_counter() - began


def with_profiler(training: Training) -> float:
    """Seconds of a step under the profiler."""
    began = time.perf_counter()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True):
        training.step()
    return time.perf_counter() - began


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """What C++ writes to stderr meanwhile goes nowhere."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def measure(ours: Ours, training: Training, rounds: int, rivals: float) -> dict[str, float]:
    """Seconds by way of looking. `rivals`: seconds that each of the others may take altogether."""
    times: dict[str, list[float]] = {name: [] for name in ("ordinary", "ours", "analysis", "MemTracker", "profiler")}
    others = {"MemTracker": with_mem_tracker, "profiler": with_profiler}
    for _ in range(3):
        training.step()
    for _ in range(rounds):
        times["ordinary"] += [timed(training.step) for _ in range(ORDINARY)]
        ours.ask()
        training.step()
        seconds, analysis = ours.deep_step(training.step)
        times["ours"].append(seconds)
        times["analysis"].append(analysis)
        for name, look in others.items():
            training.step()
            if sum(times[name]) + max(times[name], default=0) < rivals:
                with hushed():
                    times[name].append(look(training))
    return {name: statistics.median(each) for name, each in times.items() if each}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="of mlp, cnn, transformer, resnet, stack")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--stacks", default="250,500,1000,2000", help="how many layers the stacks have")
    parser.add_argument("--rivals-seconds", type=float, default=60, help="for each model and way of looking not ours")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    known: dict[str, Callable[[], Training]] = {
        build.__name__: build
        for build in (mlp, cnn, transformer, resnet)
        if build.__name__ in given.models or not given.models
    }
    if "stack" in given.models or not given.models:
        known |= {f"stack {depth}": stack(int(depth)) for depth in given.stacks.split(",")}
    ours = Ours()
    print(f"{'model':14} {'ordinary':>10} {'ours':>8} {'analysis':>8} {'MemTracker':>10} {'profiler':>8}")
    for name, build in known.items():
        found = measure(ours, build(), given.rounds, given.rivals_seconds)
        shown = [f"{found[each] / found['ordinary']:.2f} x" if each in found else "-" for each in list(found)[1:]]
        print(
            f"{name:14} {found['ordinary'] * 1e3:7.3f} ms {shown[0]:>8} {shown[1]:>8} {shown[2]:>10} {shown[3]:>8}",
            flush=True,
        )


if __name__ == "__main__":
    main()
