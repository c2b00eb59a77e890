"""Somebody's training: prints a progress bar, warns on stderr, writes its losses to a file.

Usage: train.py LOSSES [STEPS [READY GO]]. With the names of two FIFOs it says in the middle that it is there, and goes
on when told to.
"""

import sys

import torch


def main() -> int:
    torch.manual_seed(3)
    torch.set_num_threads(1)
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 40
    model = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.Tanh(), torch.nn.Linear(30, 2))
    optimizer = torch.optim.Adam(model.parameters())
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = model(torch.randn(16, 20)).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item().hex())
        print(f"\rstep {step} of {steps}", end="", flush=True)
        if step == steps // 2 and len(sys.argv) > 3:
            with open(sys.argv[3], "w") as ready:
                ready.write("here")
            with open(sys.argv[4]) as go:
                go.read()
            for line in range(20_000):  # more than any pipe or terminal holds
                print(f"line {line} " + "x" * 80)
    print()
    print("a warning", file=sys.stderr)
    weights = [value.hex() for one in model.parameters() for value in one.flatten().tolist()]
    with open(sys.argv[1], "w") as file:
        file.write("\n".join(losses + weights))
    return 4


if __name__ == "__main__":
    sys.exit(main())
