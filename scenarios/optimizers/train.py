"""One perceptron (3072-128-10) with one optimizer after another: what each keeps for 394,634 parameters."""

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

OPTIMIZERS = (*cli.OPTIMIZERS, "adafactor")


def train(args: argparse.Namespace, turn: Turn, samples: data.Samples, device: torch.device) -> float:
    """Train a new model with the optimizer that the turn is named after. Gives the last loss."""
    loader = data.loader(samples, args.batch_size, turn.steps, args.seed, device)

    torch.manual_seed(args.seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 128), nn.ReLU(), nn.Linear(128, 10)).to(device)
    loss_fn = nn.CrossEntropyLoss()

    lr = args.learning_rate
    optimizer: torch.optim.Optimizer
    match turn.name:
        case "sgd":
            optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        case "momentum":
            optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
        case "adam":
            optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        case "adamw":
            optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
        case "adafactor":  # of a matrix's second moments it keeps a mean for each row and each column alone
            optimizer = torch.optim.Adafactor(model.parameters(), lr=lr)

    began = perf_counter()
    printed, printed_step = began, 0
    for step, (x, y) in enumerate(loader, 1):
        optimizer.zero_grad(set_to_none=True)
        x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=args.precision == "bf16"):
            loss = loss_fn(model(x), y)  # the outputs are not kept: the loss is all this script holds of the forward
        loss.backward()
        optimizer.step()
        if (now := perf_counter()) - printed >= 1:  # about once a second: .item() waits for the device
            rate = (step - printed_step) / (now - printed)
            print(f"step {turn.before + step} loss {loss.item():.4f} {rate:.1f} step/s", flush=True)
            printed, printed_step = now, step
    last = loss.item()  # waits for the device: the time is whole
    turn.took(perf_counter() - began)
    return last


def main() -> None:
    parser = cli.parser(__doc__, batch_size=64, learning_rate=1e-3, optimizer="all", optimizers=("all", *OPTIMIZERS))
    add_flag(parser, phase_steps=2000)
    args = parser.parse_args()
    found = hasattr(torch.optim, "Adafactor")
    if args.optimizer == "adafactor" and not found:
        raise cli.Problem(f"--optimizer adafactor: torch {torch.__version__} has none, torch 2.5 does")
    device = cli.device(args.device)
    samples = data.images(data.CIFAR10, args.data, args.download, args.seed)
    print(f"model: 394,634 parameters on {device}", flush=True)

    names = [args.optimizer] if args.optimizer != "all" else [n for n in OPTIMIZERS if n != "adafactor" or found]
    for turn in turns(names, args.steps, args.phase_steps):
        loss = train(args, turn, samples, device)
    print(f"done: {turn.before + turn.steps} steps, final loss {loss:.4f}", flush=True)


if __name__ == "__main__":
    cli.run(main)
