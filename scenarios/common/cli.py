"""The scenarios' command line: the same flags everywhere, one line and exit status 2 for what can't be done.

This module does not import torch, so that Ctrl-C is already quiet while torch is being imported.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import torch

OPTIMIZERS = ("sgd", "momentum", "adam", "adamw")
PRECISIONS = ("fp32", "bf16")
LARGEST_SEED = 2**63 - 1


class Problem(Exception):
    """Something the person can put right: shown as one line, exit status 2, no traceback."""


class Parser(argparse.ArgumentParser):
    """argparse, with every error on one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (--help lists the settings)\n")


def parser(
    description: str | None,
    batch_size: int | None,
    learning_rate: float,
    *,
    optimizer: str = "adam",
    optimizers: Sequence[str] = OPTIMIZERS,
    precision: str = "fp32",
    precisions: Sequence[str] = PRECISIONS,
    steps: int = 1000,
) -> Parser:
    """The flags that all scenarios have, with this scenario's own defaults. `batch_size` of `None`: it has none."""
    made = Parser(description=description, allow_abbrev=False, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = made.add_argument
    if batch_size is not None:
        add("--batch-size", type=whole(1), default=batch_size, help="samples a step")
    add("--optimizer", choices=optimizers, default=optimizer, help="momentum is SGD with momentum 0.9")
    add("--precision", choices=precisions, default=precision, help="bf16 runs the forward pass under autocast")
    add("--device", type=device_name, default="auto", help="cpu, cuda:N, mps, or auto: the best there is")
    add("--seed", type=whole(0, LARGEST_SEED), default=0, help="of the weights, the synthetic data and the order")
    add("--steps", type=whole(0), default=steps, help="how many; 0 is until interrupted")
    add("--learning-rate", type=not_negative, default=learning_rate, help="of the optimizer")
    add("--data", default="", metavar="DIR", help="folder of the real data set; without it, synthetic data")
    add("--download", action="store_true", help="fetch the data set into --data DIR where it is not there yet")
    return made


def add_accumulate(parser: Parser) -> None:
    """`--accumulate`: a step's batch runs in so many parts, and their gradients add up."""
    parser.add_argument("--accumulate", type=whole(1), default=1, help="parts that a batch is run in")


def part_size(parser: Parser, args: argparse.Namespace) -> int:
    """Samples of one part of the batch; ends with a line where they can't all be as large."""
    if args.batch_size % args.accumulate:
        parser.error(f"--accumulate {args.accumulate} does not divide a --batch-size of {args.batch_size}")
    return int(args.batch_size // args.accumulate)


def whole(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """A type for argparse: a whole number from `minimum` to `maximum`."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < minimum:
            raise argparse.ArgumentTypeError(f"must be at least {minimum}, not {value}")
        if maximum is not None and value > maximum:
            raise argparse.ArgumentTypeError(f"must be at most {maximum}, not {value}")
        return value

    return convert


def not_negative(text: str) -> float:
    """A type for argparse: a finite number, 0 or above."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not math.isfinite(value) or value < 0:
        raise argparse.ArgumentTypeError(f"must be a number from 0 up, not {text}")
    return value


def device_name(text: str) -> str:
    """A type for argparse: the name of a device, there or not."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a device: cpu, cuda:N, mps or auto")
    return text


def device(name: str) -> torch.device:
    """The device of that name. Raises `Problem` where this machine, or this torch, does not have it."""
    import torch

    cuda = torch.cuda.device_count() if name == "auto" or name.startswith("cuda") else 0
    if name == "auto":
        name = "cuda:0" if cuda else "mps" if torch.backends.mps.is_available() else "cpu"
    if name.startswith("cuda"):
        index = int(name.partition(":")[2] or 0)
        if index >= cuda:
            raise Problem(f"--device {name}: torch {torch.__version__} sees {cuda or 'no'} CUDA device(s) here")
        name = f"cuda:{index}"
    if name == "mps" and not torch.backends.mps.is_available():
        raise Problem(f"--device mps: torch {torch.__version__} has no Metal device here")
    return torch.device(name)


def run(main: Callable[[], None]) -> NoReturn:
    """Run a script's main: 0 when it is done, 2 and a line for a `Problem`, 130 and a line for Ctrl-C."""
    try:
        main()
    except Problem as problem:
        print(f"{sys.argv[0]}: {problem}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our lines is gone (`| head`). Python would complain again when it flushes stdout at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(0)


def _quiet_interrupt(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _quiet_interrupt
