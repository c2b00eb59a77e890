"""A small convolutional network on square images of any size, and the remedies for a full device: 6,442 parameters."""

import argparse
import sys
from functools import lru_cache
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import common.cli as cli
import common.data as data
import torch
from common.turns import Turn, add_flag, turns
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

POOLING = {"late": (1, 2, 4), "early": (4, 2, 1)}
"""By how much height and width shrink after each block: by 8 in all, late or early."""
REMEDIES = ("none", "image", "batch", "pooling", "inplace", "checkpoint")


class Network(nn.Module):
    """Three blocks of convolution, activation and pooling, then the mean over what is left of the image."""

    def __init__(self, pooling: str, inplace: bool, checkpointed: bool) -> None:
        super().__init__()
        early, middle, late = POOLING[pooling]
        self.blocks = nn.ModuleList(
            [self.block(3, 8, early, inplace), self.block(8, 16, middle, inplace), self.block(16, 32, late, inplace)]
        )
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))
        self.checkpointed = checkpointed

    @staticmethod
    def block(channels_in: int, channels_out: int, pool: int, inplace: bool) -> nn.Sequential:
        # Unlike a ReLU, this activation needs its input in backward, unless it may overwrite it.
        activation = nn.LeakyReLU(0.1, inplace=inplace)
        convolution = nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1)
        return nn.Sequential(convolution, activation, nn.MaxPool2d(pool) if pool > 1 else nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.checkpointed else block(x)
        return self.head(x)


@lru_cache(maxsize=2)
def photographs(side: int, seed: int) -> data.Samples:
    """Synthetic colour images (N, 3, side, side)."""
    kind = data.Kind("photographs", (3, side, side), data.CIFAR10.mean, data.CIFAR10.std, 256)
    return data.Samples(*data.synthetic(kind, seed, chunk=32), kind.mean, kind.std)


def train(args: argparse.Namespace, turn: Turn, device: torch.device) -> float:
    """Train a new model with the remedy that the turn is named after. Gives the last loss."""
    side = args.side // 2 if turn.name == "image" else args.side
    batch_size = max(1, args.batch_size // 2) if turn.name == "batch" else args.batch_size
    pooling = "early" if turn.name == "pooling" else args.pooling
    loader = data.loader(photographs(side, args.seed), batch_size, turn.steps, args.seed, device)

    torch.manual_seed(args.seed)
    model = Network(pooling, turn.name == "inplace", turn.name == "checkpoint").to(device)
    loss_fn = nn.CrossEntropyLoss()

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
    parser = cli.parser(__doc__, batch_size=16, learning_rate=1e-3)
    parser.add_argument("--side", type=cli.whole(32, 1024), default=64, help="height and width of an image, N x 16")
    parser.add_argument("--pooling", choices=tuple(POOLING), default="late", help="where the image gets smaller")
    parser.add_argument("--remedy", choices=("all", *REMEDIES), default="all", help="all: one after another")
    add_flag(parser, phase_steps=60)
    args = parser.parse_args()
    if args.side % 16:
        parser.error(f"--side must be a multiple of 16, not {args.side}")
    device = cli.device(args.device)
    unused = " (there is no real set for this scenario: --data is not used)" if args.data or args.download else ""
    print(f"data: synthetic photographs of {args.side} x {args.side}{unused}", flush=True)
    print(f"model: 6,442 parameters on {device}", flush=True)

    names = list(REMEDIES) if args.remedy == "all" else [args.remedy]
    for turn in turns(names, args.steps, args.phase_steps):
        loss = train(args, turn, device)
    print(f"done: {turn.before + turn.steps} steps, final loss {loss:.4f}", flush=True)


if __name__ == "__main__":
    cli.run(main)
