"""Loops as people write them, a few steps each. Usage: loops.py NAME RESULT."""

import hashlib
import itertools
import sys

import torch
from torch import nn
from torch.nn import functional

STEPS = 12


class Momentum:
    """An optimizer that is none of torch's."""

    def __init__(self, parameters):
        self.param_groups, self.state = [{"params": list(parameters)}], {}

    def zero_grad(self):
        for one in self.param_groups[0]["params"]:
            one.grad = None

    @torch.no_grad()
    def step(self):
        for one in self.param_groups[0]["params"]:
            kept = self.state.setdefault(one, {"momentum": torch.zeros_like(one)})
            one -= 0.01 * kept["momentum"].mul_(0.9).add_(one.grad)


def network(*widths):
    layers = [nn.Linear(*pair) for pair in itertools.pairwise(widths)]
    return nn.Sequential(*(part for layer in layers for part in (layer, nn.Tanh())))


def own_optimizer():
    model = network(20, 30, 2)
    optimizer = Momentum(model.parameters())
    for _ in range(STEPS):
        loss = model(torch.randn(16, 20)).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        yield loss
    yield from model.parameters()


def no_optimizer():
    weights = [torch.randn(20, 30, requires_grad=True), torch.randn(30, 2, requires_grad=True)]
    for _ in range(STEPS):
        loss = (torch.tanh(torch.randn(16, 20) @ weights[0]) @ weights[1]).square().mean()
        loss.backward()
        with torch.no_grad():
            for one in weights:
                one -= 0.01 * one.grad
                one.grad = None
        yield loss
    yield from weights


def accumulates():
    embedding, head = nn.Embedding(50, 32), nn.Linear(32, 50)
    model = nn.Sequential(embedding, head)
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(STEPS):
        for _ in range(4):
            tokens = torch.randint(0, 50, (6, 12))
            loss = functional.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten()) / 4
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        yield loss
    yield from model.parameters()


def skips():
    model = network(20, 30, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for step in range(STEPS + 3):
        optimizer.zero_grad()
        loss = model(torch.randn(16, 20)).square().mean() * (float("inf") if step in (1, 2, 9) else 1)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        yield loss
    yield from model.parameters()


def evaluates():
    model = network(20, 30, 4)
    optimizer = torch.optim.AdamW(model.parameters())
    data = torch.utils.data.TensorDataset(torch.randn(96, 20), torch.randint(0, 4, (96,)))
    for _ in range(STEPS // 3):
        with torch.no_grad():
            for rows, labels in torch.utils.data.DataLoader(data, batch_size=48):
                yield functional.cross_entropy(model(rows), labels)
        for rows, labels in torch.utils.data.DataLoader(data, batch_size=32):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(rows), labels)
            loss.backward()
            optimizer.step()
    yield from model.parameters()


def adversaries():
    maker, judge = network(8, 64, 20), network(20, 64, 1)
    makers, judges = (torch.optim.Adam(one.parameters()) for one in (maker, judge))
    criterion = nn.BCEWithLogitsLoss()
    for _ in range(STEPS):
        real, made = torch.randn(48, 20), maker(torch.randn(48, 8))
        judges.zero_grad()
        loss = criterion(judge(real), torch.ones(48, 1)) + criterion(judge(made.detach()), torch.zeros(48, 1))
        loss.backward()
        judges.step()
        makers.zero_grad()
        criterion(judge(made), torch.ones(48, 1)).backward()
        makers.step()
        yield loss
    yield from maker.parameters()


def infers():
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 256, 10)).eval()
    criterion = nn.CrossEntropyLoss()
    data = torch.utils.data.TensorDataset(torch.randn(96, 3, 16, 16), torch.randint(0, 10, (96,)))
    with torch.inference_mode():
        for _ in range(STEPS // 3):
            for images, labels in torch.utils.data.DataLoader(data, batch_size=32):
                yield criterion(model(images), labels)


def main():
    torch.manual_seed(3)
    torch.set_num_threads(1)
    sha = hashlib.sha256()
    for tensor in globals()[sys.argv[1]]():
        sha.update(tensor.detach().clone().numpy().tobytes())
    with open(sys.argv[2], "w") as file:
        file.write(sha.hexdigest())


if __name__ == "__main__":
    main()
