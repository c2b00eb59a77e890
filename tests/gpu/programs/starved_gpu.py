"""A training on a GPU that asks for more than its share. Usage: starved_gpu.py HOW [BATCH]; see `main`."""

import sys

import torch
from torch.nn import functional as F

SHARE = 512 << 20
"""Bytes that torch may reserve."""


class Batches(torch.utils.data.IterableDataset):
    """Batches of 64; the seventh is as large as is asked for."""

    def __init__(self, large):
        self.large = large

    def __iter__(self):
        for step in range(9):
            yield torch.zeros(self.large if step == 6 else 64, 64)


class Wide(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(64, 8192)
        self.last = torch.nn.Linear(8192, 8)

    def forward(self, x):
        h = F.relu(self.inner(x))  # the line that runs out
        return self.last(h)


def main():
    how, large = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 64
    torch.manual_seed(1)
    torch.cuda.set_per_process_memory_fraction(SHARE / torch.cuda.get_device_properties(0).total_memory)
    model = Wide().to("cuda")
    optimizer = torch.optim.AdamW(model.parameters())
    for step, batch in enumerate(torch.utils.data.DataLoader(Batches(large), batch_size=None)):
        x = batch.to("cuda")
        if how == "impossible" and step == 5:
            torch.empty(1 << 50, dtype=torch.uint8, device="cuda")  # asks for too much
        if how == "caught" and step == 1:
            try:
                torch.empty(SHARE, dtype=torch.uint8, device="cuda")  # caught
            except torch.OutOfMemoryError as error:
                print("caught", type(error).__name__)
        if how == "pieces" and step == 5:
            pieces = [torch.empty(9 << 20, dtype=torch.uint8, device="cuda") for _ in range(40)]
            del pieces[::2]
            torch.empty(224 << 20, dtype=torch.uint8, device="cuda")  # no piece is large enough
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        print("step", step)


if __name__ == "__main__":
    main()
