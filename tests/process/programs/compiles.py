"""Compiled functions that do more than a forward. Prints what Dynamo has counted. Usage: compiles.py NAME."""

import sys

import torch
from torch._dynamo.utils import counters


def main(name):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rows, wanted = torch.randn(4, 8), torch.randn(4, 2)

    def forward():
        return torch.nn.functional.mse_loss(model(rows), wanted)

    def backward():
        optimizer.zero_grad()
        loss = forward()
        loss.backward()
        return loss

    def whole():
        loss = backward()
        optimizer.step()
        return loss

    def step(first, last):
        loss = first()
        if first is compiled["forward"]:
            optimizer.zero_grad()
            loss.backward()
        if last is not None:
            last()
        return loss

    def train(first, last, count):
        for _ in range(count):
            loss = step(first, last)
        return loss

    compiled = {key: torch.compile(one, backend="eager") for key, one in (("forward", forward), ("backward", backward))}
    compiled["whole"] = torch.compile(whole, backend="eager")
    compiled["step"] = torch.compile(lambda: optimizer.step(), backend="eager")
    # Long enough for unwatched steps, their hooks thinned, before the first compilation; then for more of them after.
    train(backward, optimizer.step, 3000)
    kinds = {
        "backward": (compiled["backward"], optimizer.step),
        "whole": (compiled["whole"], None),
        "step": (backward, compiled["step"]),
    }
    loss = train(*kinds[name], 300)
    print(float(loss.detach()).hex(), {key: dict(counters[key]) for key in sorted(counters)})


if __name__ == "__main__":
    main(sys.argv[1])
