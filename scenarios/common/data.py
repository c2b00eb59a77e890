"""Data sets that hand out whole batches, synthetic images, and the loader that all scenarios use."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

from common import files

CLASSES = 10

PATTERN = 0.04
"""How much of a synthetic pixel's standard deviation comes from its class; the rest is noise."""

PATCH = 4
"""A class pattern's squares are this many pixels wide, so that convolutions can see them too."""


@dataclass(frozen=True)
class Kind:
    """What a set of images looks like. Mean and standard deviation are by channel, of pixels from 0 to 1."""

    title: str
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    synthetic: int
    """How many images the synthetic set has: enough to train on, few enough to be made in a moment."""


MNIST = Kind("MNIST", (1, 28, 28), (0.1307,), (0.3081,), 10_000)
CIFAR10 = Kind("CIFAR-10", (3, 32, 32), (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), 5_000)


class Samples(Dataset[tuple[Tensor, Tensor]]):
    """Samples and labels in memory; a list of indices gives one whole batch, in storages of its own."""

    def __init__(self, samples: Tensor, labels: Tensor, mean: Sequence[float] = (), std: Sequence[float] = ()) -> None:
        self.samples, self.labels = samples, labels
        # Bytes become numbers around 0: (pixel / 255 - mean) / std, in two passes over the batch.
        self.mean = 255 * torch.tensor(mean).view(-1, 1, 1) if mean else None
        self.std = 255 * torch.tensor(std).view(-1, 1, 1) if std else None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        chosen = torch.tensor(indices)
        x = self.samples[chosen].float()
        if self.mean is not None and self.std is not None:
            x.sub_(self.mean).div_(self.std)
        return x, self.labels[chosen]


def loader(
    samples: Samples, batch_size: int, steps: int, seed: int, device: torch.device
) -> DataLoader[tuple[Tensor, Tensor]]:
    """A loader of exactly `steps` batches (0: without end), shuffled anew whenever the set is used up.

    The sampler gives the indices of a whole batch at once, which is many times faster than sample by sample.
    """
    generator = torch.Generator().manual_seed(seed)
    order = RandomSampler(samples, num_samples=steps * batch_size or sys.maxsize, generator=generator)
    batches = BatchSampler(order, batch_size, drop_last=True)
    return DataLoader(samples, sampler=batches, batch_size=None, generator=generator, pin_memory=device.type == "cuda")


def images(kind: Kind, folder: str, download: bool, seed: int) -> Samples:
    """The real set from `folder`, or synthetic images; says on stdout which it is. Raises `cli.Problem`."""
    if folder or download:
        read = files.mnist if kind is MNIST else files.cifar10
        pixels, labels = read(folder, download)
        print(f"data: {len(labels):,} {kind.title} images from {folder}", flush=True)
    else:
        print(f"data: synthetic images of {kind.title}'s shape (no --data folder given)", flush=True)
        pixels, labels = synthetic(kind, seed)
    return Samples(pixels, labels, kind.mean, kind.std)


def synthetic(kind: Kind, seed: int, chunk: int = 500) -> tuple[Tensor, Tensor]:
    """Images of a kind's shape, mean and standard deviation: a pattern of +1 and -1 for each class, and noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (kind.synthetic,), generator=generator)
    patterns = _patterns(kind.shape, generator)
    pixels = torch.empty(kind.synthetic, *kind.shape, dtype=torch.uint8)
    reach = math.sqrt(3 * (1 - PATTERN**2))  # noise is uniform from -reach to reach: variance 1 with the pattern's
    for start in range(0, kind.synthetic, chunk):
        some = labels[start : start + chunk]
        field = torch.rand(len(some), *kind.shape, generator=generator).mul_(2 * reach).sub_(reach)
        field += patterns[some]
        pixels[start : start + chunk] = _ink(field, kind, reach) if kind is MNIST else _colour(field, kind)
    return pixels, labels


def _patterns(shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """For each class squares of +PATTERN and -PATTERN, by channel."""
    channels, height, width = shape
    coarse = torch.randint(0, 2, (CLASSES, channels, height // PATCH, width // PATCH), generator=generator)
    return coarse.repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3).mul(2).sub(1).float() * PATTERN


def _colour(field: Tensor, kind: Kind) -> Tensor:
    """A field of mean 0 and variance 1 as bytes with the kind's mean and standard deviation."""
    mean, std = (255 * torch.tensor(values).view(-1, 1, 1) for values in (kind.mean, kind.std))
    return field.mul_(std).add_(mean).round_().clamp_(0, 255)


def _ink(field: Tensor, kind: Kind, reach: float) -> Tensor:
    """A field as black paper with ink, like handwriting: most pixels 0, some at one level."""
    mean, std = 255 * kind.mean[0], 255 * kind.std[0]
    level = (std**2 + mean**2) / mean  # two values, 0 and level, have this mean and std
    share = mean / level
    return (field > reach * (1 - 2 * share)).mul(round(level))
