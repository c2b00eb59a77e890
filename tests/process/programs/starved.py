"""A training that asks for more memory than there is. Usage: starved.py HOW [BATCH], see `main`."""

import resource
import sys

import torch
from torch.nn import functional as F


class Greedy(torch.nn.Module):
    def __init__(self, count):
        super().__init__()
        self.inner = torch.nn.Linear(8, 8)
        self.count = count

    def forward(self, x):
        return self.inner(x) + torch.empty(self.count).zero_()[0]  # asks for too much


def limited():
    """The address space may grow by 256 MiB from here."""
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20), resource.RLIM_INFINITY))


def batches(how):
    """Batches of 64; the last but one is larger where memory shall run out for that."""
    for step in range(8):
        yield torch.randn(int(sys.argv[2]) if how == "batch" and step == 6 else 64, 8)


def main():
    how = sys.argv[1]
    torch.manual_seed(1)
    torch.set_num_threads(1)
    greedy = Greedy(1)
    wide = torch.nn.Linear(8, 8192) if how == "batch" else torch.nn.Identity()
    model = torch.nn.Sequential(greedy, wide)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    if how == "batch":
        limited()
    # The dataset is a generator of whole batches: a loader without a batch size yields them as they are.
    loader = torch.utils.data.DataLoader(Whole(how), batch_size=None)
    for step, x in enumerate(loader):
        greedy.count = 10**15 if how == "impossible" and step == 5 else 1
        optimizer.zero_grad()
        loss = F.relu(model(x)).mean()  # the line that runs out
        if how == "caught" and step == 1:
            try:
                torch.empty(10**15)  # caught
            except RuntimeError as error:
                print("caught", type(error).__name__)
        loss.backward()
        optimizer.step()
        print("step", step, loss.item())
    if how == "after":
        try:
            torch.empty(10**15)  # after
        except RuntimeError as error:
            print("caught", type(error).__name__)


class Whole(torch.utils.data.IterableDataset):
    def __init__(self, how):
        self.how = how

    def __iter__(self):
        return batches(self.how)


if __name__ == "__main__":
    main()
