"""A small convolutional network on CIFAR-10's 3 x 32 x 32 colour images: 114,186 parameters."""

import sys
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import common.cli as cli
import common.data as data
import torch
from torch import nn


def block(channels_in: int, channels_out: int, inplace: bool) -> list[nn.Module]:
    """Convolution, normalisation, activation, and a pooling that halves height and width."""
    return [
        nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=inplace),
        nn.MaxPool2d(2),
    ]


def main() -> None:
    parser = cli.parser(__doc__, batch_size=64, learning_rate=1e-3)
    parser.add_argument(
        "--inplace",
        choices=("off", "on"),
        default="off",
        help="let each ReLU overwrite its input",
    )
    cli.add_accumulate(parser)
    args = parser.parse_args()
    part_size = cli.part_size(parser, args)
    device = cli.device(args.device)
    samples = data.images(data.CIFAR10, args.data, args.download, args.seed)
    loader = data.loader(samples, part_size, args.steps * args.accumulate, args.seed, device)

    torch.manual_seed(args.seed)
    model = nn.Sequential(
        *block(3, 32, args.inplace == "on"),  # -> (B, 32, 16, 16)
        *block(32, 64, args.inplace == "on"),  # -> (B, 64, 8, 8)
        *block(64, 128, args.inplace == "on"),  # -> (B, 128, 4, 4)
        nn.Flatten(),
        nn.Linear(128 * 4 * 4, 10),
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

    step, part, printed, printed_step = 0, 0, perf_counter(), 0
    for x, y in loader:
        if part == 0:
            optimizer.zero_grad(set_to_none=True)
        x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=args.precision == "bf16"):
            loss = loss_fn(model(x), y)  # the outputs are not kept: the loss is all this script holds of the forward
        # The mean of the parts' means is the mean of the batch: gradients add up until it is whole.
        (loss if args.accumulate == 1 else loss / args.accumulate).backward()
        part = (part + 1) % args.accumulate
        if part:
            continue
        optimizer.step()
        step += 1
        if (now := perf_counter()) - printed >= 1:  # about once a second: .item() waits for the device
            rate = (step - printed_step) / (now - printed)
            print(f"step {step} loss {loss.item():.4f} {rate:.1f} step/s", flush=True)
            printed, printed_step = now, step
    print(f"done: {step} steps, final loss {loss.item():.4f}", flush=True)


if __name__ == "__main__":
    cli.run(main)
