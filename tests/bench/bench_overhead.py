"""What the probe costs a training: pairs with and without it, interleaved, medians of step time.

`python tests/bench/bench_overhead.py [--scenario mlp-cifar] [--pairs 7] [--steps 2000]`. Each run is a fresh process,
one thread, the same seed. Step time is taken inside the script's process by a wrap of `Optimizer.zero_grad` that both
sides have (perf_counter, the median of all steps after the first 50), so imports and start-up do not count.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from memtop.launcher import manifests
from memtop.launcher.target import Address, environment

_TIMER = """
import atexit, json, os, runpy, sys, time
import torch
times = []
plain = torch.optim.Optimizer.zero_grad
def zero_grad(self, *args, **kwargs):
    times.append(time.perf_counter())
    return plain(self, *args, **kwargs)
torch.optim.Optimizer.zero_grad = zero_grad
def report():
    steps = [b - a for a, b in zip(times[50:], times[51:])]
    steps.sort()
    with open(os.environ["BENCH_OUT"], "w") as out:
        json.dump({"median": steps[len(steps) // 2], "mean": sum(steps) / len(steps), "steps": len(steps)}, out)
atexit.register(report)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def _drain(address: Address, seen: list[int]) -> None:
    address.listener.setblocking(True)
    link, _ = address.listener.accept()
    while chunk := link.recv(1 << 16):
        seen.append(len(chunk))


def _run(command: list[str], watched: bool, overhead: float) -> dict[str, float]:
    with tempfile.NamedTemporaryFile() as out:
        env = {**os.environ, "OMP_NUM_THREADS": "1", "BENCH_OUT": out.name}
        address = Address() if watched else None
        seen: list[int] = []
        if address is not None:
            env = environment(env, address.path, overhead)
            threading.Thread(target=_drain, args=(address, seen), daemon=True).start()
        line = [command[0], "-c", _TIMER, *command[2:]]
        subprocess.run(line, env=env, check=True, stdout=subprocess.DEVNULL, start_new_session=True)
        if address is not None:
            address.close()
            assert seen, "the probe said nothing: this would measure nothing"
        result: dict[str, float] = json.loads(Path(out.name).read_text())
        return result


def main() -> None:
    """Print the ratio of the medians, and of the means, over all pairs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--scenario", default="mlp-cifar", choices=manifests.names())
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--overhead", type=float, default=1.0)
    given = parser.parse_args()
    manifest = manifests.load(given.scenario)
    settings = manifests.resolve(manifest, {"steps": given.steps, "device": "cpu"})
    command = manifests.command(manifest, settings, sys.executable)
    pairs = []
    for _ in range(given.pairs):
        pairs.append([_run(command, watched, given.overhead) for watched in (False, True)])
    for kind in ("median", "mean"):
        without, with_probe = ([pair[side][kind] for pair in pairs] for side in (0, 1))
        ratios = [b / a for a, b in zip(without, with_probe, strict=True)]
        print(
            f"{given.scenario} {kind}: without {statistics.median(without) * 1e6:.0f} us, "
            f"with {statistics.median(with_probe) * 1e6:.0f} us, ratio of medians "
            f"{statistics.median(with_probe) / statistics.median(without):.4f}, "
            f"median of pair ratios {statistics.median(ratios):.4f}"
        )


if __name__ == "__main__":
    main()
