"""Forecast peaks against measured ones, on the CPU: every scenario, and six models more.

`python tests/bench/bench_forecast.py [NAME ...] [--times 2,4,8] [--batch N] [--length]`.

Each case is trained for a few steps at a small batch with a deep look at the second; what the probe says of it is the
forecast. Then the same is trained anew at 2, 4 and 8 times that batch, and the peak that a deep look measures there
stands beside what had been forecast. An error below 0 is a forecast that was too low: the harmful direction.

With `--length` the batch stays and the length of the sequences grows, 2 and 4 times. Where memtop says that it does not
know, the table says so; that is right for `cells` and `convolved`, and counts as no forecast.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import runpy
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from bench_deep import Nobody, Ours
from torch.utils.data import DataLoader

from memtop.model.forecast import Affine, OfPixels, Quadratic, peak_at, peak_of_length

sys.path.insert(0, str(Path(__file__).parent / "models"))
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scenarios"))
STEPS = 4
_FIELDS = ("fixed_bytes", "bytes_per_sample", "bytes_per_pair")
_OF_PIXELS = ("fixed_bytes", "growing_bytes", "squared_bytes")


@dataclass
class Case:
    """Something that trains `STEPS` steps at a batch size."""

    name: str
    batch: int
    train: Callable[[int], None]
    late: bool = False
    """Whether the truth is measured a step later: of two optimizers the second makes its state in the second step."""


def scenario(name: str, batch: int, *more: str) -> Case:
    """A scenario's own script, run here."""

    flag = "--batches" if name == "batch-size" else "--batch-size"

    def train(size: int) -> None:
        script = ROOT / "scenarios" / name / "train.py"
        before = sys.argv
        sys.argv = [str(script), "--steps", str(STEPS), flag, str(size), "--device", "cpu", *more]
        # The cap of `oom` would stay upon this process.
        with contextlib.ExitStack() as stack:
            stack.callback(setattr, sys, "argv", before)
            stack.enter_context(mock.patch("common.limits.cap"))
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            stack.enter_context(contextlib.suppress(SystemExit))
            runpy.run_path(str(script), run_name="__main__")

    return Case(" ".join((name, *more)), batch, train)


def model(name: str, batch: int) -> Case:
    """One of `models/varied.py` or `models/unseen.py`."""

    def train(size: int) -> None:
        from unseen import UNSEEN
        from varied import BUILDS

        torch.manual_seed(0)
        training = BUILDS[name]() if name in BUILDS else UNSEEN[name][1]()
        loader = DataLoader(training.dataset, batch_size=size, shuffle=True)
        for _, batch in zip(range(STEPS), loader, strict=False):
            training.step(batch)

    return Case(name, batch, train, late=name == "gan")


def sequences(name: str) -> tuple[Case, int]:
    """One of `models/sequences.py`, trained at a length, and the length that is watched."""
    from sequences import SEQUENCES

    batch, length, build = SEQUENCES[name]

    def train(size: int) -> None:
        torch.manual_seed(0)
        training = build(size)
        loader = DataLoader(training.dataset, batch_size=batch, shuffle=True)
        for _, drawn in zip(range(STEPS), loader, strict=False):
            training.step(drawn)

    return Case(name, batch, train), length


def lengthened(name: str, batch: int, length: int, *more: str) -> tuple[Case, int]:
    """A scenario with `--length`. Its positions are parameters, as many as the length: not the same model."""

    def train(size: int) -> None:
        scenario(name, batch, "--length", str(size), *more).train(batch)

    return Case(" ".join((name, *more)), batch, train), length


UNSEEN = (("experts", 8), ("diffusion", 4), ("translator", 8), ("contrastive", 64), ("distances", 16))


def pictures(name: str) -> tuple[Case, int]:
    """One of `models/images.py`, trained at a side, and the side that is watched."""
    from images import IMAGES

    batch, side, build = IMAGES[name]

    def train(size: int) -> None:
        torch.manual_seed(0)
        training = build(size)
        for drawn, _ in zip(DataLoader(training.dataset, batch_size=batch), range(STEPS), strict=False):
            training.step(drawn)

    return Case(name, batch, train), side


def sided(batch: int, side: int, *more: str) -> tuple[Case, int]:
    """The scenario `image-size` with `--side`."""

    def train(size: int) -> None:
        scenario("image-size", batch, "--side", str(size), *more).train(batch)

    return Case(" ".join(("image-size", *more)), batch, train), side


CASES = (
    *(scenario("mlp-mnist", batch) for batch in (16, 64, 128)),
    scenario("mlp-mnist", 64, "--optimizer", "sgd"),
    *(scenario("mlp-cifar", batch) for batch in (16, 64, 128)),
    scenario("mlp-cifar", 64, "--precision", "bf16"),
    *(scenario("cnn", batch) for batch in (8, 32, 64)),
    scenario("cnn", 32, "--inplace", "on"),
    scenario("cnn", 32, "--precision", "bf16"),
    *(scenario("deep-stack", 32, "--checkpoint", how) for how in ("none", "halves", "segments=2", "sqrt")),
    scenario("deep-stack", 64, "--width", "64", "--depth", "200"),
    scenario("tensor-tracker", 4),
    *(scenario("iris", batch) for batch in (16, 18)),
    scenario("batch-size", 32),
    *(scenario("optimizers", 32, "--optimizer", how) for how in ("sgd", "momentum", "adam", "adamw", "adafactor")),
    *(scenario("precision", 16, "--precision", how) for how in ("fp32", "bf16", "pure-bf16", "fp16")),
    *(scenario("image-size", 4, "--remedy", how) for how in ("none", "pooling", "inplace", "checkpoint")),
    *(scenario("transformer", 2, "--attention", how) for how in ("math", "sdpa")),
    scenario("oom", 16),
    *(model(name, batch) for name, batch in (("resnet18", 4), ("unet", 2), ("gpt", 2), ("lstm", 8), ("vit", 4))),
    *(model("gan", batch) for batch in (16, 64)),
    *(model(name, batch) for name, batch in (("lstm", 64), ("unet", 3), ("vit", 1), ("resnet18", 7))),
)


class Looker:
    """The probe, asked for a deep look at the second step of what runs next."""

    def __init__(self) -> None:
        self._ours = Ours()
        self._ours.link = self._ours._probe._link = Asking()  # type: ignore[assignment]

    def look(self, case: Case, batch: int) -> tuple[int, list[Affine]]:
        """(measured peak, the affine functions of all phases as the look at the second step has them) at this batch."""
        peak, found = self._looked(case, batch)
        assert found["batch_size"] == batch, found
        lines = [
            Affine(phase=each["phase"], **dict(zip(_FIELDS, line, strict=False)))
            for each in found["phases"]
            for line in each["lines"]
        ]
        assert case.late or peak == found["peak"] == peak_at(lines, batch)
        return peak, lines

    def look_at_length(self, case: Case, length: int) -> tuple[int, list[Quadratic], str]:
        """(measured peak, the functions of the length, why there are none) at this length."""
        peak, found = self._looked(case, length)
        curves = [
            Quadratic(phase=each["phase"], fixed_bytes=one[0], bytes_per_position=one[1], bytes_per_pair=one[2])
            for each in found["lengths"]
            for one in each["curves"]
        ]
        assert not curves or (found["length"], peak_of_length(curves, length)) == (length, peak)
        return peak, curves, str(found["length_unknown"])

    def look_at_side(self, case: Case, side: int) -> tuple[int, list[OfPixels], str]:
        """(measured peak, the functions of the pixels, the error that is said or why there are none) at this side."""
        peak, found = self._looked(case, side)
        curves = [
            OfPixels(phase=each["phase"], pixels=side * side, **dict(zip(_OF_PIXELS, one, strict=True)))
            for each in found["pixels"]
            for one in each["curves"]
        ]
        assert not curves or (found["image"], peak_of_length(curves, side * side)) == ([side, side], peak)
        says = f"said error {100 * found['pixels_error']:.1f} %" if curves else str(found["pixels_unknown"])
        return peak, curves, says

    def _looked(self, case: Case, size: int) -> tuple[int, dict[str, Any]]:
        gc.collect()
        self._ours.ask()
        probe, link = self._ours._probe, self._ours.link
        probe._watching, probe._forward_seen = True, False
        probe._steps.quiet = probe._inputs.quiet = False  # The first step is watched, as it is in a fresh process.
        probe._steps.watch_backward(True)
        link.again = probe._governor.ask_deep if case.late else None
        case.train(size)
        told = link.records
        peaks = [sum(one["bytes"].values()) for one in told if one["kind"] == "memory" and one["moment"] == "peak"]
        assert len(peaks) == 1 + case.late, [one["message"] for one in told if one["kind"] == "event"]
        return peaks[-1], next(one for one in told if one["kind"] == "scaling")


class Asking(Nobody):
    """Asks for one deep look more when the first has told."""

    again: Callable[[], None] | None = None

    def send(self, record: dict[str, Any]) -> None:
        """Keep a record."""
        super().send(record)
        if record["kind"] == "scaling" and self.again is not None:
            self.again()
            self.again = None


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="cases whose names begin so")
    parser.add_argument("--times", default="2,4,8")
    parser.add_argument("--batch", type=int, help="watch this batch instead of each case's own")
    parser.add_argument("--length", action="store_true", help="forecast longer sequences instead of larger batches")
    parser.add_argument("--size", action="store_true", help="forecast larger images instead of larger batches")
    parser.add_argument("--unseen", action="store_true", help="models that the rules were not made on")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.size:
        of_sides(given.names)
        return
    if given.length:
        of_lengths(given.names)
        return
    looker, errors = Looker(), []
    print(f"{'case':38} {'batch':>5} {'measured there':>15}   times: forecast (error), ...")
    for case in [model(*one) for one in UNSEEN] if given.unseen else CASES:
        if given.names and not case.name.startswith(tuple(given.names)):
            continue
        batch = given.batch or case.batch
        known, lines = looker.look(case, batch)
        words: list[str] = []
        for times in map(int, given.times.split(",")):
            truth, _ = looker.look(case, batch * times)
            error = 100 * (peak_at(lines, batch * times) / truth - 1)
            errors.append(error)
            words.append(f"{times}x {peak_at(lines, batch * times):,} ({error:+.2f} %)")
        print(f"{case.name:38} {batch:5} {known:15,}   {', '.join(words)}", flush=True)
    told(errors)


def of_lengths(names: list[str]) -> None:
    """Print the table of sequences."""
    from sequences import SEQUENCES

    cases = [sequences(name) for name in SEQUENCES]
    cases += [lengthened("transformer", 4, 64, "--attention", how) for how in ("sdpa", "math")]
    looker, errors = Looker(), []
    print(f"{'case':38} {'length':>6} {'measured there':>15}   times: forecast (error), ...")
    for case, length in cases:
        if names and not case.name.startswith(tuple(names)):
            continue
        known, curves, why = looker.look_at_length(case, length)
        words = []
        for times in (2, 4) if curves else ():
            truth, _, _ = looker.look_at_length(case, length * times)
            foretold = peak_of_length(curves, length * times)
            errors.append(100 * (foretold / truth - 1))
            words.append(f"{times}x {foretold:,} ({errors[-1]:+.2f} %)")
        print(f"{case.name:38} {length:6} {known:15,}   {', '.join(words) or 'not known: ' + why}", flush=True)
    told(errors)


def of_sides(names: list[str]) -> None:
    """Print the table of images."""
    from images import IMAGES

    cases = [pictures(name) for name in IMAGES]
    cases += [sided(4, 64, "--remedy", how) for how in ("none", "pooling", "checkpoint")]
    looker, errors = Looker(), []
    print(f"{'case':38} {'side':>6} {'measured there':>15}   times: forecast (error), ...")
    for case, side in cases:
        if names and not case.name.startswith(tuple(names)):
            continue
        known, curves, says = looker.look_at_side(case, side)
        words = []
        for times in (1.5, 2, 4) if curves else ():
            larger = round(side * times)
            truth, _, _ = looker.look_at_side(case, larger)
            foretold = peak_of_length(curves, larger * larger)
            errors.append(100 * (foretold / truth - 1))
            words.append(f"{times}x {foretold:,} ({errors[-1]:+.2f} %)")
        print(f"{case.name:38} {side:6} {known:15,}   {', '.join([*words, says])}", flush=True)
    told(errors)


def told(errors: list[float]) -> None:
    """Print what all forecasts were off by, per cent."""
    sizes = [abs(error) for error in errors]
    if not sizes:
        print("no forecast")
        return
    print(
        f"{len(sizes)} forecasts: median error {statistics.median(sizes):.3f} %, worst {max(sizes):.2f} %, "
        f"lowest {min(errors):+.2f} %"
    )


if __name__ == "__main__":
    main()
