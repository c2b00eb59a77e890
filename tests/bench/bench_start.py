"""How long a person waits for words: `memtop --version` and `--help` beside what they are made of, interleaved.

`python tests/bench/bench_start.py [--runs 15]` prints the median wall time of each command in milliseconds. Bytecode
is written first, as it is on a person's machine. nvitop is measured too where it is installed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time


def _commands() -> dict[str, list[str]]:
    found = {
        "bare Python": [sys.executable, "-c", "pass"],
        "import click": [sys.executable, "-c", "import click"],
        "import psutil": [sys.executable, "-c", "import psutil"],
        "memtop --version": [sys.executable, "-m", "memtop", "--version"],
        "memtop --help": [sys.executable, "-m", "memtop", "--help"],
        "memtop schema": [sys.executable, "-m", "memtop", "schema"],
    }
    nvitop = shutil.which("nvitop")
    return found | ({"nvitop --version": [nvitop, "--version"]} if nvitop else {})


def _seconds(command: list[str]) -> float:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    subprocess.run(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    commands = _commands()
    for command in commands.values():
        _seconds(command)
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            times[name].append(_seconds(command))
    for name, each in times.items():
        print(f"{name:20} {1e3 * statistics.median(each):6.1f} ms")


if __name__ == "__main__":
    main()
