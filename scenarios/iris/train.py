"""A small perceptron (4-10-3) on Fisher's 150 iris flowers, the whole set as one batch: 83 parameters."""

import csv
import sys
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import common.cli as cli
import common.data as data
import torch
from torch import Tensor, nn

FLOWERS = Path(__file__).with_name("iris.csv")
"""Sepal length and width, petal length and width in cm, species. Fisher 1936; in the public domain."""


def flowers() -> data.Samples:
    """150 flowers (N, 4) float32 in cm, and their species from 0 to 2."""
    with FLOWERS.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    species = sorted({row[4] for row in rows})
    measures = torch.tensor([[float(value) for value in row[:4]] for row in rows])
    return data.Samples(measures, torch.tensor([species.index(row[4]) for row in rows]))


def main() -> None:
    parser = cli.parser(__doc__, batch_size=150, learning_rate=0.01, optimizer="sgd", steps=0)
    parser.add_argument("--epochs", type=cli.whole(1), default=20_000, help="where --steps is 0")
    parser.add_argument("--log-every", type=cli.whole(1), default=100, help="steps between two losses that are kept")
    parser.add_argument(
        "--keep-graph",
        choices=("off", "on"),
        default="off",
        help="keep the loss tensors instead of their values: a leak, on purpose",
    )
    args = parser.parse_args()
    device = cli.device(args.device)
    samples = flowers()
    unused = " (they come with this scenario: --data is not used)" if args.data or args.download else ""
    print(f"data: {len(samples)} iris flowers{unused}", flush=True)
    steps = args.steps or args.epochs * -(-len(samples) // args.batch_size)
    loader = data.loader(samples, args.batch_size, steps, args.seed, device)

    torch.manual_seed(args.seed)
    model = nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 3)).to(device)
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

    losses: list[float | Tensor] = []
    step, printed, printed_step = 0, perf_counter(), 0
    for x, y in loader:
        optimizer.zero_grad(set_to_none=True)
        x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=args.precision == "bf16"):
            loss = loss_fn(model(x), y)  # the outputs are not kept: the loss is all this script holds of the forward
        loss.backward()
        optimizer.step()
        step += 1
        if step % args.log_every == 0:
            # .item() waits for the device and gives a number. The tensor itself holds the graph that made it.
            losses.append(loss if args.keep_graph == "on" else loss.item())
        if (now := perf_counter()) - printed >= 1:
            rate = (step - printed_step) / (now - printed)
            kept = losses[-1] if losses else loss
            value = kept.item() if isinstance(kept, Tensor) else kept
            print(f"step {step} loss {value:.4f} {rate:.1f} step/s", flush=True)
            printed, printed_step = now, step
    print(f"done: {step} steps, final loss {loss.item():.4f}", flush=True)


if __name__ == "__main__":
    cli.run(main)
