"""What every Python below `memtop run` pays: starting without torch, and `import torch`, with the probe and without.

`python tests/bench/bench_import.py [--runs 15] [--python PYTHON]`. Interleaved; medians of the differences of wall time
in milliseconds. A monitor's socket is there and is read, as it would be.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from contextlib import suppress

from memtop.launcher.target import Address, environment

CODES = {"a Python without torch": "pass", "import torch": "import torch"}


def seconds(python: str, code: str, env: dict[str, str]) -> float:
    """One process."""
    began = time.perf_counter()
    subprocess.run([python, "-c", code], env=env, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def listen(address: Address) -> None:
    """Take what probes say."""

    def take(connection: socket.socket) -> None:
        with suppress(OSError):
            while connection.recv(65536):
                pass

    def accept() -> None:
        address.listener.setblocking(True)
        while True:
            threading.Thread(target=take, args=(address.listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def main() -> None:
    """Print two lines."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--python", default=sys.executable)
    given = parser.parse_args()
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    address = Address()
    listen(address)
    watched = environment(plain, address.path, 1.0, owned=False)
    try:
        for name, code in CODES.items():
            for env in (plain, watched):
                seconds(given.python, code, env)
            both = (plain, watched)
            pairs = [[seconds(given.python, code, env) for env in both] for _ in range(given.runs)]
            without = statistics.median(a for a, _ in pairs)
            more = statistics.median(b - a for a, b in pairs)
            print(f"{name:24} {1e3 * without:7.1f} ms, with the probe {1e3 * more:+6.1f} ms")
    finally:
        address.close()


if __name__ == "__main__":
    main()
