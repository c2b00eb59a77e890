"""One of `varied.py` as a script of its own: `python sized.py NAME --batch-size N`. Ends after ten steps."""

from __future__ import annotations

import argparse

import torch
from torch.utils.data import DataLoader
from varied import BUILDS


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=BUILDS)
    parser.add_argument("--batch-size", type=int, default=8)
    given = parser.parse_args()
    torch.manual_seed(0)
    training = BUILDS[given.name]()
    loader = DataLoader(training.dataset, batch_size=given.batch_size, shuffle=True)
    for _ in range(10):
        training.step(next(iter(loader)))


if __name__ == "__main__":
    main()
