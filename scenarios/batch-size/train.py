"""One linear layer (10-2) on 1,000 samples, with one batch size after another: 22 parameters."""

import argparse
import sys
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import common.cli as cli
import common.data as data
import torch
from common.turns import Turn, add_flag, turns
from torch import nn

SAMPLES = 1000
BASE = 32
"""The batch that the learning rate is meant for: linear scaling starts from here."""


def batch_list(text: str) -> str:
    """A type for argparse: batch sizes with commas between them."""
    return ",".join(str(cli.whole(1)(each)) for each in text.split(","))


def points(seed: int) -> data.Samples:
    """Two clouds of points in ten dimensions, one around each of two random centres."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (SAMPLES,), generator=generator)
    centres = torch.randn(2, 10, generator=generator)
    return data.Samples(torch.randn(SAMPLES, 10, generator=generator) + centres[labels], labels)


def train(args: argparse.Namespace, turn: Turn, samples: data.Samples, device: torch.device) -> float:
    """Train a new model with the batch size that the turn is named after. Gives the last loss."""
    batch_size = int(turn.name.split()[1])
    # A micro-batch is what goes through the model at once; its gradients add up until the batch is whole.
    micro = min(args.micro_batch or batch_size, batch_size)
    pieces = batch_size // micro
    loader = iter(data.loader(samples, micro, turn.steps * pieces, args.seed, device))

    torch.manual_seed(args.seed)
    model = nn.Linear(10, 2).to(device)
    loss_fn = nn.CrossEntropyLoss()

    lr = args.learning_rate * (batch_size / BASE if args.scale_rate == "on" else 1)
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

    began = perf_counter()
    step, printed, printed_step = 0, began, 0
    while step < turn.steps or not turn.steps:
        optimizer.zero_grad(set_to_none=True)
        for _ in range(pieces):
            x, y = next(loader)
            x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=args.precision == "bf16"):
                loss = loss_fn(model(x), y)
            (loss / pieces).backward()  # the mean of the pieces' means is the mean of the batch
        optimizer.step()
        step += 1
        if (now := perf_counter()) - printed >= 1:  # about once a second: .item() waits for the device
            rate = (step - printed_step) / (now - printed)
            print(f"step {turn.before + step} loss {loss.item():.4f} {rate:.1f} step/s", flush=True)
            printed, printed_step = now, step
    last = loss.item()  # waits for the device: the time is whole
    turn.took(perf_counter() - began)
    return last


def main() -> None:
    parser = cli.parser(__doc__, batch_size=None, learning_rate=0.05, optimizer="sgd")
    parser.add_argument("--batches", type=batch_list, default="1,32,1024", help="batch sizes, one after another")
    parser.add_argument("--micro-batch", type=cli.whole(0), default=0, help="samples at once; 0 is the whole batch")
    parser.add_argument(
        "--scale-rate",
        choices=("off", "on"),
        default="off",
        help=f"learning rate times batch / {BASE}",
    )
    add_flag(parser, phase_steps=5000)
    args = parser.parse_args()
    batches = [int(each) for each in args.batches.split(",")]
    for batch_size in batches:
        if args.micro_batch and batch_size > args.micro_batch and batch_size % args.micro_batch:
            parser.error(f"--micro-batch {args.micro_batch} does not divide a batch of {batch_size}")
    device = cli.device(args.device)
    unused = " (there is no real set for this scenario: --data is not used)" if args.data or args.download else ""
    print(f"data: {SAMPLES:,} synthetic points{unused}", flush=True)
    samples = points(args.seed)
    print(f"model: 22 parameters on {device}", flush=True)

    names = [f"batch {each} ({-(-SAMPLES // each):,} steps an epoch)" for each in batches]
    for turn in turns(names, args.steps, args.phase_steps):
        loss = train(args, turn, samples, device)
    print(f"done: {turn.before + turn.steps} steps, final loss {loss:.4f}", flush=True)


if __name__ == "__main__":
    cli.run(main)
