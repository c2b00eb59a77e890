"""Each line of "what if" against the real thing: the same training with that setting changed, looked at deeply.

`OMP_NUM_THREADS=1 python tests/bench/bench_whatif.py [MODEL ...] [--batches]`. For each model a deep look at its third
step; the lines worked out from it; then the model again with each setting for real. The error is (forecast - measured)
/ measured of the peak of tensor bytes; below 0 is the harmful direction. `--batches`: a limit of four times the peak,
each line's largest batch run for real, and how much of the limit it takes: 100 % is right, above is out of memory. On
the CPU. 8-bit Adam is measured where bitsandbytes can be imported (0.50.2 runs on the CPU).
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint_sequential

from memtop.model.deep_records import ModulesRecord, TraceRecord
from memtop.model.whatif import Line, whatif
from memtop.model.whatif_facts import facts

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent / "models")]
from tests.unit.deep_driver import Driver, Seen, modules_of  # noqa: E402

KINDS: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda given: torch.optim.SGD(given, lr=1e-3),
    "SGD with momentum": lambda given: torch.optim.SGD(given, lr=1e-3, momentum=0.9),
    "Adam": lambda given: torch.optim.Adam(given, lr=1e-4),
    "AdamW": lambda given: torch.optim.AdamW(given, lr=1e-4),
}
if importlib.util.find_spec("bitsandbytes") is not None:
    import bitsandbytes

    KINDS["8-bit Adam"] = lambda given: bitsandbytes.optim.Adam8bit(given, lr=1e-4)


@dataclass(frozen=True)
class Setting:
    """What is changed."""

    optimizer: str
    autocast: bool = False
    pure: bool = False
    checkpoint: bool = False
    inplace: bool = False
    half: bool = False
    parts: int = 1


@dataclass
class Case:
    """A model that can be built anew, and what feeds it."""

    build: Callable[[bool], Any]
    """With in-place activations or not."""
    batch: Callable[[int, bool], tuple[Tensor, Tensor]]
    """Samples and labels; of half the side or not."""
    samples: int
    optimizer: str
    row: Callable[[Any], Any] | None = None
    """The `nn.Sequential` that checkpoints can be put into."""
    half: bool = False
    inplace: bool = False
    names: list[str] = field(default_factory=list)


def images(samples: int, half: bool) -> tuple[Tensor, Tensor]:
    side = 16 if half else 32
    return torch.randn(samples, 3, side, side), torch.randint(0, 10, (samples,))


def vectors(samples: int, half: bool) -> tuple[Tensor, Tensor]:
    return torch.randn(samples, 10), torch.randint(0, 10, (samples,))


def mlp(inplace: bool) -> Any:
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 128), nn.ReLU(inplace), nn.Linear(128, 10))


def cnn(inplace: bool) -> Any:
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


def stack(inplace: bool) -> Any:
    return nn.Sequential(*(nn.Linear(10, 10) for _ in range(400)))


def resnet(inplace: bool) -> Any:
    from resnet import resnet as build

    return build()


def transformer(inplace: bool) -> Any:
    from transformer import Language

    return Language()


def words(samples: int, half: bool) -> tuple[Tensor, Tensor]:
    from transformer import LENGTH, WORDS

    return torch.randint(0, WORDS, (samples, LENGTH)), torch.randint(0, WORDS, (samples, LENGTH))


def vit(inplace: bool) -> Any:
    from varied import ViT

    return ViT()


def scores(inplace: bool) -> Any:
    from sequences import Scores

    return Scores()


def lstm(inplace: bool) -> Any:
    from varied import Words

    return Words()


def tokens(samples: int, half: bool) -> tuple[Tensor, Tensor]:
    return torch.randint(0, 100, (samples, 128)), torch.randint(0, 100, (samples, 128))


def sentences(samples: int, half: bool) -> tuple[Tensor, Tensor]:
    return torch.randint(0, 1000, (samples, 40)), torch.randint(0, 10, (samples,))


CASES = {
    "mlp": Case(mlp, images, 64, "Adam"),
    "cnn": Case(cnn, images, 32, "Adam", lambda model: model, half=True, inplace=True),
    "stack": Case(stack, vectors, 64, "Adam", lambda model: model),
    "resnet": Case(resnet, images, 8, "SGD with momentum", lambda model: model, half=True),
    "transformer": Case(transformer, words, 4, "AdamW"),
    "vit": Case(vit, images, 16, "AdamW"),
    "scores": Case(scores, tokens, 8, "Adam"),
    "lstm": Case(lstm, sentences, 64, "Adam"),
}


def looked(case: Case, setting: Setting, samples: int) -> tuple[Any, Seen]:
    """The third step of a new training with this setting: its model, and what a deep look saw."""
    torch.manual_seed(0)
    model = case.build(setting.inplace)
    x, y = case.batch(samples, setting.half)
    if setting.pure:
        model = model.bfloat16()
        x = x.bfloat16() if x.is_floating_point() else x
    if setting.parts > 1:
        del x, y  # Each part comes when it is needed, as from a loader.
    optimizer = KINDS[setting.optimizer](model.parameters())
    driver = Driver(optimizer, modules=modules_of(model))

    def forward(given: Tensor) -> Tensor:
        if setting.checkpoint and case.row is not None:
            row = list(case.row(model))
            return checkpoint_sequential(row, max(2, round(len(row) ** 0.5)), given, use_reentrant=False)
        return model(given)

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        for _ in range(setting.parts):
            part, label = (x, y) if setting.parts == 1 else case.batch(samples // setting.parts, setting.half)
            with torch.autocast("cpu", torch.bfloat16, enabled=setting.autocast):
                out = forward(part)
                loss = nn.functional.cross_entropy(out.flatten(0, -2), label.flatten())
            loss.backward()
            del part, label, out
        optimizer.step()
        return loss.detach()

    step()
    step()
    return model, driver.look(step)


def base_facts(case: Case, model: Any, seen: Seen, limit: int | None) -> Any:
    """What the monitor would know: the records, decoded as it decodes them."""
    common = {"t": 0.0, "rank": 0}
    trace = msgspec.convert(seen.one("trace") | common, TraceRecord)
    modules = msgspec.convert(seen.one("modules") | common, ModulesRecord)
    x, _ = case.batch(1, False)
    trainable = sum(one.nbytes for one in model.parameters())
    return facts(
        trace,
        modules,
        batch=case.samples,
        trainable=trainable,
        optimizers=["SGD" if "SGD" in case.optimizer else case.optimizer],
        float_inputs=float(x.is_floating_point()),
        limit=limit,
    )


def settings(case: Case) -> dict[str, Setting]:
    """What can be done for real, by the line's name."""
    own = case.optimizer
    found = {name: Setting(name) for name in KINDS if name != own}
    found |= {"bf16 autocast": Setting(own, autocast=True), "pure bf16": Setting(own, pure=True)}
    if case.row is not None:
        found["checkpointing"] = Setting(own, checkpoint=True)
    if case.inplace:
        found["in-place activations"] = Setting(own, inplace=True)
    if case.half:
        found["inputs at half the side"] = Setting(own, half=True)
    return found | {f"{parts} accumulated parts": Setting(own, parts=parts) for parts in (2, 4)}


def run(name: str, batches: bool) -> list[tuple[str, float]]:
    """One model: a line of figures for each setting."""
    case = CASES[name]
    model, seen = looked(case, Setting(case.optimizer), case.samples)
    limit = 4 * seen.peak
    lines = {line.name: line for line in whatif(base_facts(case, model, seen, limit))}
    print(f"\n{name}, batch {case.samples}, {case.optimizer}: peak {seen.peak:,} B, the limit is {limit:,} B")
    errors = []
    for what, setting in settings(case).items():
        line: Line | None = lines.get(what)
        if line is None:
            print(f"  {what:26} no line")
            continue
        measured = looked(case, setting, case.samples)[1].peak
        error = line.peak / measured - 1
        errors.append((what, error))
        told = f"  {what:26} forecast {line.peak:>13,}  measured {measured:>13,}  {error:>+7.1%}"
        print(told + (_at_its_largest(case, setting, line, limit) if batches else ""), flush=True)
    return errors


def _at_its_largest(case: Case, setting: Setting, line: Line, limit: int) -> str:
    if not line.max_batch:
        return "   no largest batch"
    peak = looked(case, setting, line.max_batch)[1].peak
    return f"   batch {line.max_batch:>6,} takes {peak / limit:6.1%} of the limit"


def main() -> None:
    """Run them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(CASES)}; all")
    parser.add_argument("--batches", action="store_true", help="run each line's largest batch, too")
    given = parser.parse_args()
    for name in given.models:
        if name not in CASES:
            parser.error(f"no model {name!r} (there are {', '.join(CASES)})")
    errors = [error for name in given.models or CASES for error in run(name, given.batches)]
    by_line: dict[str, list[float]] = {}
    for what, error in errors:
        by_line.setdefault(what, []).append(error)
    print(f"\n{'line':26} models  median  worst")
    for what, found in by_line.items():
        absolute = [abs(error) for error in found]
        print(f"{what:26} {len(found):>6}  {statistics.median(absolute):6.1%} {max(found, key=abs):+6.1%}")


if __name__ == "__main__":
    main()
