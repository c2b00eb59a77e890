"""A target that speaks as a training on a GPU would: the probe's words without its torch.

Run by `test_gpu_from_outside.py`. Its figures stand in for the caching allocator's; NVML's come from the fake driver,
which it tells its own process by a file.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path

MIB = 2**20
COUNTERS = {"requested": 90 * MIB, "allocated": 96 * MIB, "active": 100 * MIB, "reserved": 128 * MIB, "retries": 0}
KNOWN = {"parameters": 10 * MIB, "buffers": 1 * MIB, "gradients": 10 * MIB, "optimizer_state": 20 * MIB}
KNOWN |= {"inputs": 4 * MIB, "activations": 40 * MIB}


def main(uuid: str, pid_file: str) -> None:
    """Say hello, then the same step again and again, until ended."""
    Path(pid_file).write_text(str(os.getpid()))
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.connect(os.environ["MEMTOP_SOCKET"])

    def say(**record: object) -> None:
        base = {"v": 1, "t_ns": time.monotonic_ns(), "pid": os.getpid(), "rank": 0}
        link.sendall(json.dumps(base | record).encode() + b"\n")

    device = {"name": "cuda:0", "uuid": uuid, "title": "NVIDIA H200", "total": 143771 * MIB}
    say(kind="hello", python="3.12", torch="2.11.0+cu130", cuda="13.0", allocator="native", devices=[device])
    for step in range(1, 2000):
        for moment in ("forward_end", "backward_end", "step_end"):
            sizes = KNOWN | {"temporaries": None, "other_tensors": None}
            facts = {"device": "cuda:0", "step": step, "moment": moment, "tier": "graph", "where": None, "notes": []}
            say(kind="memory", bytes=sizes, allocator=COUNTERS, **facts)
        time.sleep(0.02)


if __name__ == "__main__":
    main(*sys.argv[1:])
