"""One perceptron (3072-512-512-10) in one precision after another: 1,841,162 parameters."""

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

PRECISIONS = ("fp32", "bf16", "pure-bf16", "fp16")
CASTS = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""Autocast's dtype: the weights stay float32, the layers compute with copies of them."""


def has_fp16(device: torch.device) -> bool:
    """Whether this torch can train under float16 autocast on the device: one tiny layer tells."""
    try:
        with torch.no_grad(), torch.autocast(device.type, dtype=torch.float16):
            made = nn.Linear(2, 2).to(device)(torch.ones(1, 2, device=device))
        return made.dtype is torch.float16 and torch.amp.GradScaler(device.type).is_enabled()
    except (RuntimeError, TypeError):
        return False


def train(args: argparse.Namespace, turn: Turn, samples: data.Samples, device: torch.device) -> float:
    """Train a new model in the precision that the turn is named after. Gives the last loss."""
    loader = data.loader(samples, args.batch_size, turn.steps, args.seed, device)
    kept = torch.bfloat16 if turn.name == "pure-bf16" else torch.float32
    cast = CASTS.get(turn.name)

    torch.manual_seed(args.seed)
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(3 * 32 * 32, 512),
        nn.ReLU(),
        nn.Linear(512, 512),
        nn.ReLU(),
        nn.Linear(512, 10),
    ).to(device, kept)
    loss_fn = nn.CrossEntropyLoss()
    # float16 reaches down to 6e-8 alone: the loss is scaled up so that small gradients do not become zero.
    scaler = torch.amp.GradScaler(device.type, enabled=turn.name == "fp16")

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

    began = perf_counter()
    printed, printed_step = began, 0
    for step, (x, y) in enumerate(loader, 1):
        optimizer.zero_grad(set_to_none=True)
        x, y = x.to(device, kept, non_blocking=True), y.to(device, non_blocking=True)
        with torch.autocast(device.type, dtype=cast, enabled=cast is not None):
            loss = loss_fn(model(x), y)  # the outputs are not kept: the loss is all this script holds of the forward
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        if (now := perf_counter()) - printed >= 1:  # about once a second: .item() waits for the device
            rate = (step - printed_step) / (now - printed)
            print(f"step {turn.before + step} loss {loss.item():.4f} {rate:.1f} step/s", flush=True)
            printed, printed_step = now, step
    last = loss.item()  # waits for the device: the time is whole
    turn.took(perf_counter() - began)
    return last


def main() -> None:
    parser = cli.parser(__doc__, batch_size=256, learning_rate=1e-3, precision="all", precisions=("all", *PRECISIONS))
    add_flag(parser, phase_steps=200)
    args = parser.parse_args()
    device = cli.device(args.device)
    names = list(PRECISIONS) if args.precision == "all" else [args.precision]
    if "fp16" in names and not has_fp16(device):
        if args.precision == "fp16":
            raise cli.Problem(f"--precision fp16: torch {torch.__version__} can't train in float16 on {device}")
        names.remove("fp16")
    samples = data.images(data.CIFAR10, args.data, args.download, args.seed)
    print(f"model: 1,841,162 parameters on {device}", flush=True)

    for turn in turns(names, args.steps, args.phase_steps):
        loss = train(args, turn, samples, device)
    print(f"done: {turn.before + turn.steps} steps, final loss {loss:.4f}", flush=True)


if __name__ == "__main__":
    cli.run(main)
