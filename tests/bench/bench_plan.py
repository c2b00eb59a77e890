"""A plan for a CUDA device against the device: peaks of `allocated` and `reserved`.

`OMP_NUM_THREADS=1 python tests/bench/bench_plan.py [MODEL ...] [--batches 16,64] [--conf TEXT]`. The third step is
looked at on the CPU at two small batch sizes; the step at each of `--batches` is drawn from those, and played through
the model of the allocator. With a GPU here, the same training runs on it, each in a fresh process, and the error of
each plan is (planned - real) / real. Without one only what needs none is told: that the step drawn from two small
batches has the storages of a real one at that size, the stand-in allocator's peaks, and how long a plan takes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from memtop.model.extrapolate import at_batch
from memtop.model.on_cuda import CUBLAS, CUBLAS_HOPPER, on_cuda
from memtop.model.plan import Plan, plan
from memtop.model.step_events import StepEvents

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent), str(Path(__file__).parent / "models")]
from bench_whatif import CASES as WHATIF  # noqa: E402
from bench_whatif import KINDS, Case, images  # noqa: E402

from tests.unit.cuda_allocator import Native  # noqa: E402
from tests.unit.step_files import looked  # noqa: E402


class Pixels(torch.nn.Module):
    """A class for each pixel, the classes last."""

    def __init__(self) -> None:
        super().__init__()
        from varied import UNet

        self.inner = UNet()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x).permute(0, 2, 3, 1)


def varied(name: str) -> Any:
    """Of the models that forecasts are measured on."""

    def build(inplace: bool) -> Any:
        import varied

        return getattr(varied, name)()

    return build


def text(samples: int, half: bool) -> tuple[Any, Any]:
    return torch.randint(0, 512, (samples, 96)), torch.randint(0, 512, (samples, 96))


def masks(samples: int, half: bool) -> tuple[Any, Any]:
    return torch.randn(samples, 3, 64, 64), torch.randint(0, 2, (samples, 64, 64))


CASES = WHATIF | {
    "gpt": Case(varied("GPT"), text, 8, "AdamW"),
    "vit": Case(varied("ViT"), images, 8, "AdamW"),
    "unet": Case(lambda inplace: Pixels(), masks, 8, "Adam"),
}
SMALL = (4, 6)
STEPS = 4


def seen(name: str, batch: int) -> StepEvents:
    """The third step of a training on the CPU."""
    case = CASES[name]
    torch.manual_seed(0)
    events, _ = looked(case.build(False), batch, KINDS[case.optimizer], make=lambda count: case.batch(count, False))
    return events


def real(name: str, batch: int, conf: str) -> dict[str, int]:
    """The peaks of the same training on this machine's GPU, from a process of its own."""
    env = {**os.environ, "PYTORCH_CUDA_ALLOC_CONF": conf}
    command = [sys.executable, __file__, name, "--on-gpu", "--batches", str(batch)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise SystemExit(f"{name} at {batch} failed on the GPU: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def on_gpu(name: str, batch: int) -> None:
    """Train, and say what torch's own counters say. Runs in a process of its own."""
    case = CASES[name]
    torch.manual_seed(0)
    model = case.build(False).to("cuda")
    optimizer = KINDS[case.optimizer](model.parameters())
    for _ in range(STEPS):
        x, y = (one.to("cuda") for one in case.batch(batch, False))
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(model(x).flatten(0, -2), y.flatten()).backward()
        optimizer.step()
    torch.cuda.synchronize()
    told = {"allocated": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}
    print(json.dumps(told))


def stand_in(events: StepEvents) -> int:
    """Peak of `allocated` over one steady step in the allocator that stands in for CUDA's in the tests."""
    other, blocks = Native(), {}
    for number in events.held:
        blocks[number] = other.malloc(events.births[number].bytes)
    for number, size in events.changes:
        if size:
            blocks[number] = other.malloc(size)
        elif number in blocks:
            other.free(blocks.pop(number))
    return other.peak["allocated"]


def without_gpu(name: str, batch: int, drawn: StepEvents, found: Plan) -> None:
    """What can be checked on the CPU."""
    actual = seen(name, batch)
    same = sum(one.bytes == two.bytes for one, two in zip(drawn.births, actual.births, strict=True))
    step, _ = on_cuda(drawn, [CASES[name].optimizer.split()[0]])
    bare = plan(drawn, optimizers=[CASES[name].optimizer.split()[0]], workspace=0)
    other = stand_in(step)
    told = f"{drawn.peak / actual.peak - 1:+.2%}, {same} of {len(drawn.births)} storages the same"
    print(f"  batch {batch:>5}: drawn peak {told}")
    print(f"               allocated {bare.allocated / other - 1:+.2%} of the stand-in's, one steady step")
    print(f"               reserved {found.reserved:,} B, {found.reserved / found.requested:.3f} of what is asked for")


def main() -> None:
    """Run them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(CASES)}; all")
    parser.add_argument("--batches", default="16,64")
    parser.add_argument("--conf", default="")
    parser.add_argument("--on-gpu", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    batches = [int(batch) for batch in given.batches.split(",")]
    if given.on_gpu:
        return on_gpu(given.models[0], batches[0])
    gpu = torch.cuda.is_available()
    hopper = gpu and torch.cuda.get_device_capability()[0] == 9
    print(torch.cuda.get_device_name() if gpu else "no CUDA device here: nothing is held against a real `reserved`")
    if os.environ.get("FAKE_CUDA_LEDGER"):
        print("torch's own CUDA allocator over a stand-in for the runtime, no GPU: cuBLASLt and cuDNN ask for nothing")
    errors: dict[str, list[float]] = {"allocated": [], "reserved": []}
    for name in given.models or CASES:
        first, second = ((batch, seen(name, batch)) for batch in SMALL)
        print(name)
        for batch in batches:
            drawn = at_batch(first, second, batch)
            began = time.perf_counter()
            kinds = [CASES[name].optimizer.split()[0]]
            found = plan(drawn, conf=given.conf, optimizers=kinds, workspace=CUBLAS_HOPPER if hopper else CUBLAS)
            took = time.perf_counter() - began
            if not gpu:
                without_gpu(name, batch, drawn, found)
                print(f"               planned in {took:.2f} s, {len(drawn.changes):,} changes a step")
                continue
            measured = real(name, batch, given.conf)
            for what, share in errors.items():
                share.append(getattr(found, what) / measured[what] - 1)
            told = ", ".join(f"{what} {measured[what]:,} B, planned {share[-1]:+.1%}" for what, share in errors.items())
            print(f"  batch {batch:>5}: {told}")
    for what, found_errors in errors.items():
        if found_errors:
            median = statistics.median(abs(error) for error in found_errors)
            print(
                f"{what}: median error {median:.1%}, lowest {min(found_errors):+.1%}, highest {max(found_errors):+.1%}"
            )
    return None


if __name__ == "__main__":
    main()
