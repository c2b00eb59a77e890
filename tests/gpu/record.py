"""Everything that a GPU can tell, in one go of under eight minutes: for a session that has one.

`python tests/gpu/record.py OUT [--seconds 460]` runs the tests marked `gpu`, records answers of torch's allocator and
histories of steps, and runs the benchmarks of plans and of `memtop fit` on the device. OUT then holds a log of each
with its status, and `allocator/` and `history/`, which can stand in `tests/fixtures/`. What there is no time for is
left out, and said so.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = [sys.executable]
WORKERS = str(min(4, os.cpu_count() or 1))


def steps(out: Path) -> list[tuple[str, list[str], dict[str, str], int]]:
    """Name, command, environment besides ours, and the seconds that it may take; what matters most comes first."""
    real = {} if os.environ.get("FAKE_CUDA_LEDGER") else {"MEMTOP_REAL_CUDA": "1"}
    record = {**real, "MEMTOP_RECORD": str(out / "history"), "MEMTOP_RECORD_ALLOCATOR": str(out / "allocator")}
    pytest = [*PYTHON, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider"]
    return [
        ("specs", [*PYTHON, "-m", "memtop", "specs"], {}, 30),
        ("doctor", [*PYTHON, "-m", "memtop", "doctor"], {}, 60),
        ("tests_inside", [*pytest, "tests/gpu/test_deep_real.py", "tests/gpu/test_sample_real.py"], record, 90),
        ("tests_nvml", [*pytest, "tests/gpu/test_nvml_real.py"], {}, 60),
        ("tests_oom", [*pytest, "-n", WORKERS, "tests/gpu/test_oom_gpu.py"], {}, 120),
        ("tests_scenarios", [*pytest, "-n", WORKERS, "tests/gpu/test_scenarios_gpu.py"], {}, 150),
        ("tests_fit", [*pytest, "-n", WORKERS, "tests/gpu/test_fit_gpu.py"], {}, 150),
        ("plan", [*PYTHON, "tests/bench/bench_plan.py"], {"OMP_NUM_THREADS": "4"}, 150),
        ("allocator", [*PYTHON, "-m", "tests.fake_cuda.record_allocator"], record, 120),
        ("fit", [*PYTHON, "tests/bench/bench_fit.py", "--device", "cuda"], {}, 150),
    ]


def ran(path: Path, command: list[str], env: dict[str, str], seconds: float) -> str:
    """Run one into its log; how it ended. What it has started ends with it."""
    with path.open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True)
        try:
            status = str(process.wait(seconds))
        except subprocess.TimeoutExpired:
            status = f"stopped after {seconds:.0f} s"
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
        log.write(f"status: {status}\n")
    return status


def main() -> int:
    """Run them. The status is 1 where a test failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--seconds", type=float, default=460)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    ends, worst = time.monotonic() + given.seconds, 0
    for name, command, more, most in steps(given.out.resolve()):
        left = min(most, ends - time.monotonic())
        if left < 5:
            print(f"{name}: left out, no time", flush=True)
            continue
        began = time.monotonic()
        status = ran(given.out / f"{name}.txt", command, {**os.environ, "PYTHONPATH": str(ROOT), **more}, left)
        worst = max(worst, int(name.startswith("tests") and status not in ("0", "5")))
        print(f"{name}: status {status}, {time.monotonic() - began:.0f} s", flush=True)
    return worst


if __name__ == "__main__":
    sys.exit(main())
