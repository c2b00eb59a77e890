"""A training that runs out of memory at its fifth step, and its remedies: short.py LAYERS BATCH [WHAT]."""

import resource
import sys

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint_sequential

WORDS, WIDTH = 220_000, 64
CAPS = {6: 440 << 20, 10: 560 << 20}
"""By the number of layers: bytes that it may take beside what is mapped when the training begins."""
FLAT = "free" in sys.argv


def limited(layers):
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + CAPS[layers], resource.RLIM_INFINITY))


class Tokens(torch.utils.data.IterableDataset):
    """Whole batches: four small ones (`FLAT`: none), then those that were asked for."""

    def __init__(self, batch):
        self.batch = batch

    def __iter__(self):
        for size in (*[self.batch if FLAT else 512] * 4, self.batch, self.batch):
            yield torch.randint(0, WORDS, (size,))


class Net(nn.Module):
    def __init__(self, layers, segments):
        super().__init__()
        self.table = nn.Embedding(WORDS, WIDTH)
        self.stack = nn.Sequential(*[one for _ in range(layers) for one in (nn.Linear(WIDTH, WIDTH), nn.ReLU())])
        self.segments = segments

    def forward(self, tokens):
        x = self.table(tokens)
        if self.segments:
            return checkpoint_sequential(self.stack, self.segments, x, use_reentrant=False)
        return self.stack(x)


def main():
    """6 or 10 LAYERS; `checkpoint=N`, `half`, `sgd`: a remedy; `free`: no limit, no small batch, to be looked at."""
    layers, batch, what = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    segments = next((int(one.split("=")[1]) for one in what if one.startswith("checkpoint")), 0)
    torch.manual_seed(1)
    torch.set_num_threads(1)
    model = Net(layers, segments)
    kind = torch.optim.SGD if "sgd" in what else torch.optim.Adam
    optimizer = kind(model.parameters(), lr=1e-3)
    if "free" not in what:
        limited(layers)
    for step, tokens in enumerate(torch.utils.data.DataLoader(Tokens(batch), batch_size=None)):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled="half" in what):
            loss = F.relu(model(tokens)).mean()
        loss.backward()
        optimizer.step()
        print("step", step, flush=True)


if __name__ == "__main__":
    main()
