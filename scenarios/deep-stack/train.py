"""A thousand small linear layers in a row, to see what activation checkpointing trades.

The input is synthetic vectors; there are no activation functions, so each layer keeps exactly its input.
"""

import argparse
import math
import re
import sys
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import common.cli as cli
import common.data as data
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential


class Stack(nn.Module):
    """`depth` linear layers of one width; `mode` says which of them are computed again in backward."""

    def __init__(self, depth: int, width: int, mode: str) -> None:
        super().__init__()
        layers = [nn.Linear(width, width) for _ in range(depth)]
        for layer in layers:
            # Starting at the identity lets the signal through a thousand layers; PyTorch's default would fade it out.
            nn.init.eye_(layer.weight)
        self.layers = nn.Sequential(*layers)
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        half, last = len(self.layers) // 2, len(self.layers) - 1
        if self.mode == "none":
            return self.layers(x)
        if self.mode == "halves":
            x = checkpoint(self.part, x, 0, half, use_reentrant=False)
            x = checkpoint(self.part, x, half, last, use_reentrant=False)
            return self.part(x, last, last + 1)
        return checkpoint_sequential(self.layers, segments(self.mode, last + 1), x, use_reentrant=False)

    def part(self, x: Tensor, start: int, end: int) -> Tensor:
        """The layers from `start` up to, not including, `end`."""
        for layer in list(self.layers)[start:end]:
            x = layer(x)
        return x


def segments(mode: str, depth: int) -> int:
    """How many parts the stack is cut into. All but the last keep only their input."""
    return math.ceil(math.sqrt(depth)) if mode == "sqrt" else int(mode.removeprefix("segments="))


def checkpoint_mode(text: str) -> str:
    if not re.fullmatch(r"none|halves|sqrt|segments=[1-9]\d{0,8}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not offered: none, halves, sqrt or segments=N")
    return text


def vectors(width: int, seed: int) -> data.Samples:
    """Random vectors around one random centre for each class. Labels stay below the width: it gives the logits."""
    generator = torch.Generator().manual_seed(seed)
    count, classes = max(256, min(10_000, 2_000_000 // width)), min(data.CLASSES, width)
    labels = torch.randint(0, classes, (count,), generator=generator)
    centres = torch.randn(classes, width, generator=generator)
    return data.Samples(torch.randn(count, width, generator=generator) + centres[labels], labels)


def main() -> None:
    parser = cli.parser(__doc__, batch_size=32, learning_rate=1e-5)
    parser.add_argument("--depth", type=cli.whole(1), default=1000, help="number of layers")
    parser.add_argument("--width", type=cli.whole(2), default=10, help="inputs and outputs of each layer")
    parser.add_argument("--checkpoint", type=checkpoint_mode, default="none", help="none, halves, sqrt or segments=N")
    args = parser.parse_args()
    if args.checkpoint == "halves" and args.depth < 3:
        parser.error("--checkpoint halves needs --depth 3 or more")
    if args.checkpoint not in ("none", "halves") and segments(args.checkpoint, args.depth) > args.depth:
        parser.error(f"--checkpoint {args.checkpoint} needs as many layers: --depth is {args.depth}")

    device = cli.device(args.device)
    unused = " (there is no real set for this scenario: --data is not used)" if args.data or args.download else ""
    print(f"data: synthetic vectors{unused}", flush=True)
    loader = data.loader(vectors(args.width, args.seed), args.batch_size, args.steps, args.seed, device)

    torch.manual_seed(args.seed)
    model = Stack(args.depth, args.width, args.checkpoint).to(device)
    loss_fn = nn.CrossEntropyLoss()
    print(f"model: {sum(p.numel() for p in model.parameters()):,} parameters on {device}", flush=True)

    lr = args.learning_rate
    optimizer: torch.optim.Optimizer
    match args.optimizer:
        case "sgd":
            optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        case "momentum":
            optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
        case "adam":
            optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        case "adamw":
            optimizer = torch.optim.AdamW(model.parameters(), lr=lr)

    step, printed, printed_step = 0, perf_counter(), 0
    for x, y in loader:
        optimizer.zero_grad(set_to_none=True)
        x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=args.precision == "bf16"):
            loss = loss_fn(model(x), y)  # the outputs are not kept: the loss is all this script holds of the forward
        loss.backward()
        optimizer.step()
        step += 1
        if (now := perf_counter()) - printed >= 1:  # about once a second: .item() waits for the device
            rate = (step - printed_step) / (now - printed)
            print(f"step {step} loss {loss.item():.4f} {rate:.1f} step/s", flush=True)
            printed, printed_step = now, step
    print(f"done: {step} steps, final loss {loss.item():.4f}", flush=True)


if __name__ == "__main__":
    cli.run(main)
