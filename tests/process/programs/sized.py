"""A training with a batch size of its own, which fails in ways of its own where that is above 40.

`python sized.py --batch-size N [--how crash|caught|memory] [--samples N]`. `crash`: an error that has nothing to do
with memory. `memory`: an allocation that no machine has. `caught`: the same, caught, and an end with status 0.
"""

from __future__ import annotations

import argparse
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, default=8)
parser.add_argument("--samples", type=int, default=4096)
parser.add_argument("--how", default="well")
parser.add_argument("--wait", default="", help="a FIFO that nobody writes to: wait there before the third step")
given = parser.parse_args()
data = TensorDataset(torch.randn(given.samples, 64), torch.randint(0, 10, (given.samples,)))
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)


def fail() -> None:
    if given.how == "crash":
        raise ValueError("a label is out of range")
    if given.how in ("memory", "caught"):
        torch.empty(1 << 50, dtype=torch.uint8)


try:
    for number, (x, y) in enumerate(DataLoader(data, batch_size=given.batch_size)):
        if given.batch_size > 40:
            fail()
        if number == 2 and given.wait:
            open(given.wait).close()
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
except RuntimeError as error:
    if given.how != "caught":
        raise
    print("caught:", type(error).__name__)
    sys.exit(0)
