"""A training that leaks, or looks as if it did. Usage: leaking.py KIND, the name of a function below."""

import sys
import time

import torch
from torch.nn import functional as F


class Meter:
    def __init__(self):
        self.values = []


class Bank(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(1, 8))

    def take(self, rows):
        self.seen = torch.cat([self.seen, rows])  # leaks: buffer


losses, floats, cache, meter, bank = [], [], {}, Meter(), Bank()
hidden = torch.zeros(4, 8)
average, history = None, torch.zeros(1, 8)


def graph(step, model, x):
    loss = F.mse_loss(model(x), x)  # leaks: graph
    loss.backward()
    losses.append(loss)


def chain(step, model, x):
    global hidden
    hidden = torch.tanh(model(x) + hidden)  # leaks: chain
    hidden.square().mean().backward(retain_graph=True)


def kept(step, model, x):
    out = model(x)  # leaks: kept
    F.mse_loss(out, x).backward()
    meter.values.append(out.detach())


def grows(step, model, x):
    global history
    out = model(x)
    F.mse_loss(out, x).backward()
    history = torch.cat([history, out.detach()])  # leaks: grows


def buffer(step, model, x):
    out = model(x)
    F.mse_loss(out, x).backward()
    bank.take(out.detach())


def warm_up(step, model, x):
    F.mse_loss(model(x), x).backward()
    if step < 12:
        losses.append(torch.ones(1000) * step)


def caching(step, model, x):
    size = step % 16 + 1
    if size not in cache:
        cache[size] = torch.randn(size, 8)
    F.mse_loss(model(x[:1] + cache[size]), cache[size]).backward()


def sequence(step, model, x):
    global average
    x = torch.randn(4 + step // 4 % 500, 8)
    out = model(x)
    average = out.detach().mean(0)
    F.mse_loss(out, x).backward()


def logging(step, model, x):
    loss = F.mse_loss(model(x), x)
    loss.backward()
    floats.append(loss.item())
    if step % 50 == 0:
        losses.clear()
    losses.append(loss.detach())


def ema(step, model, x):
    global average
    loss = F.mse_loss(model(x), x)
    loss.backward()
    weights = torch.cat([one.detach().flatten() for one in model.parameters()])
    average = weights if average is None else 0.99 * average + 0.01 * weights


def main():
    torch.manual_seed(1)
    torch.set_num_threads(1)
    kind = globals()[sys.argv[1]]
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 8))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    for step in range(300):
        optimizer.zero_grad()
        kind(step, model, torch.randn(4, 8))
        if kind is chain:  # the older graph needs the weights as they were
            optimizer.zero_grad()
        optimizer.step()
        time.sleep(0.01)  # as long as a real step: the probe looks by the clock


if __name__ == "__main__":
    main()
