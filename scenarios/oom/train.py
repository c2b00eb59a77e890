"""A small convolutional network whose batch doubles until memory ends. A cap makes that safe: --cap, in MiB."""

import sys
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import common.cli as cli
import common.data as data
import common.limits as limits
import torch
from torch import nn


def main() -> None:
    parser = cli.parser(__doc__, batch_size=16, learning_rate=1e-3, steps=0)
    parser.add_argument("--cap", type=cli.whole(64), default=1024, help="MiB that the training may take")
    parser.add_argument("--phase-steps", type=cli.whole(1), default=5, help="steps with each batch size")
    args = parser.parse_args()
    device = cli.device(args.device)
    samples = data.images(data.CIFAR10, args.data, args.download, args.seed)

    torch.manual_seed(args.seed)
    model = nn.Sequential(
        nn.Conv2d(3, 32, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    ).to(device)
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
    with torch.no_grad():  # what comes with the first use, threads and their stacks above all, is not to be capped
        model(samples[list(range(16))][0].to(device))
    limits.cap(device, args.cap * limits.MIB)
    print(f"cap: {args.cap} MiB more than what is taken now", flush=True)

    step, batch_size, printed, printed_step = 0, args.batch_size, perf_counter(), 0
    while step < args.steps or not args.steps:
        steps = min(args.phase_steps, args.steps - step) if args.steps else args.phase_steps
        print(f"phase: batch {batch_size}, steps {step + 1} to {step + steps}", flush=True)
        for x, y in data.loader(samples, batch_size, steps, args.seed, device):
            optimizer.zero_grad(set_to_none=True)
            x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=args.precision == "bf16"):
                loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            step += 1
            if (now := perf_counter()) - printed >= 1:  # about once a second: .item() waits for the device
                rate = (step - printed_step) / (now - printed)
                print(f"step {step} loss {loss.item():.4f} {rate:.1f} step/s", flush=True)
                printed, printed_step = now, step
        batch_size *= 2
    print(f"done: {step} steps, final loss {loss.item():.4f}", flush=True)


if __name__ == "__main__":
    cli.run(main)
