"""Marks between lines tell which tensors came and went; then VGG-19's convolutions train on CIFAR-10's shape.

The only scenario that mentions memtop. It runs as well without it: the marks then do nothing.
"""

import sys
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import common.cli as cli
import common.data as data
import torch
from torch import nn

try:
    from memtop import track
except ImportError:

    def track(label: str = "") -> None:
        """A mark that nobody reads: memtop is not installed here."""


VGG19 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512, 512, 512, 512, 0)
"""Output channels of each convolution; 0 is a pooling that halves height and width."""


def stack() -> nn.Sequential:
    """The sixteen 3 x 3 convolutions of VGG-19 with their ReLUs and poolings, without its classifier."""
    layers: list[nn.Module] = []
    channels = 3
    for width in VGG19:
        if not width:
            layers.append(nn.MaxPool2d(2))
            continue
        convolution = nn.Conv2d(channels, width, kernel_size=3, padding=1)
        # As VGG's authors found later: without it the signal fades out in sixteen layers.
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        layers += [convolution, nn.ReLU(inplace=True)]
        channels = width
    return nn.Sequential(*layers, nn.Flatten())


def marked(device: torch.device) -> nn.Sequential:
    """Build the model and make some tensors, a mark after each; the tensors are gone when it returns.

    They are claimed and never written, `torch.empty`: 1 GB at most on a GPU; on the CPU address space and no memory.
    """
    track("before")
    model = stack().to(device)
    track("VGG-19's convolutions")
    first = torch.empty(60, 3, 512, 512, device=device)
    second = torch.empty(30, 3, 512, 512, device=device)
    third = torch.empty(40, 3, 512, 512, device=device)
    track("three tensors")
    fourth = torch.empty(120, 3, 512, 512, device=device)
    fifth = torch.empty(80, 3, 512, 512, device=device)
    track("two more")
    del fourth, third
    track("two deleted")
    del first, second, fifth
    return model


def main() -> None:
    args = cli.parser(__doc__, batch_size=8, learning_rate=1e-4).parse_args()
    device = cli.device(args.device)
    samples = data.images(data.CIFAR10, args.data, args.download, args.seed)
    loader = data.loader(samples, args.batch_size, args.steps, args.seed, device)

    torch.manual_seed(args.seed)
    model = marked(device)  # (B, 3, 32, 32) -> (B, 512): of 512 outputs the ten classes use the first ten
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
