"""Six small trainings for the benchmarks of forecasts: each builds a model and gives one step on a batch.

`BUILDS[name]()` is a `Training`: `dataset` is what a DataLoader draws from, `step(batch)` trains on what it yields.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from resnet import resnet as build_resnet
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset, TensorDataset

SAMPLES = 2048


@dataclass
class Training:
    """One model with its optimizer and data."""

    dataset: Dataset[Any]
    step: Callable[[list[Tensor]], Any]


def _ordinary(model: nn.Module, optimizer: torch.optim.Optimizer, loss: Callable[[Tensor, Tensor], Tensor]) -> Any:
    def step(batch: list[Tensor]) -> None:
        x, y = batch
        optimizer.zero_grad(set_to_none=True)
        loss(model(x), y).backward()
        optimizer.step()

    return step


def _images(side: int) -> Dataset[Any]:
    return TensorDataset(torch.randn(SAMPLES // 8, 3, side, side), torch.randint(0, 10, (SAMPLES // 8,)))


def resnet18() -> Training:
    """11.2 million parameters, 3 x 32 x 32, SGD with momentum."""
    model = build_resnet()
    momentum = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    return Training(_images(32), _ordinary(model, momentum, functional.cross_entropy))


class _Double(nn.Sequential):
    def __init__(self, inputs: int, outputs: int) -> None:
        layers: list[nn.Module] = []
        for first in (inputs, outputs):
            layers += [nn.Conv2d(first, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class UNet(nn.Module):
    """Three levels, 32 to 128 channels, skips put beside."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.down = nn.ModuleList([_Double(3, 32), _Double(32, 64)])
        self.middle = _Double(64, 128)
        self.grow = nn.ModuleList([nn.ConvTranspose2d(128, 64, 2, 2), nn.ConvTranspose2d(64, 32, 2, 2)])
        self.up = nn.ModuleList([_Double(128, 64), _Double(64, 32)])
        self.head = nn.Conv2d(32, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for down in self.down:
            x = down(x)
            skips.append(x)
            x = functional.max_pool2d(x, 2)
        x = self.middle(x)
        for grow, up, skip in zip(self.grow, self.up, reversed(skips), strict=True):
            x = up(torch.cat([skip, grow(x)], 1))
        return self.head(x)


def unet() -> Training:
    """0.5 million parameters, 3 x 64 x 64 to a mask, Adam."""
    model = UNet()
    data = TensorDataset(torch.randn(128, 3, 64, 64), torch.randint(0, 2, (128, 64, 64)))
    return Training(data, _ordinary(model, torch.optim.Adam(model.parameters()), functional.cross_entropy))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        count, length, width = x.shape
        parts = self.qkv(self.before(x)).view(count, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(*parts, is_causal=self.causal)
        x = x + self.out(found.transpose(1, 2).reshape(count, length, width))
        return x + self.mlp(self.between(x))


class GPT(nn.Module):
    """6 blocks of width 384, tied head."""

    def __init__(self, words: int = 512, length: int = 96, width: int = 384) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(words, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(_Block(width, 6, True) for _ in range(6)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, x: Tensor) -> Tensor:
        where = torch.arange(x.shape[1], device=x.device)
        return self.head(self.norm(self.blocks(self.tokens(x) + self.places(where))))


def gpt() -> Training:
    """10.9 million parameters, 96 tokens, AdamW, gradients clipped."""
    model = GPT()
    adamw = torch.optim.AdamW(model.parameters(), lr=1e-4)
    text = torch.randint(0, 512, (128, 97))

    def step(batch: list[Tensor]) -> None:
        x, y = batch
        adamw.zero_grad(set_to_none=True)
        functional.cross_entropy(model(x).flatten(0, 1), y.flatten()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adamw.step()

    return Training(TensorDataset(text[:, :-1].contiguous(), text[:, 1:].contiguous()), step)


class Words(nn.Module):
    """Two LSTM layers of 128 over embedded words."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(1000, 64)
        self.lstm = nn.LSTM(64, 128, num_layers=2, batch_first=True, dropout=0.1)
        self.head = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(self.words(x))[0][:, -1])


def lstm() -> Training:
    """0.3 million parameters, 40 words, Adam."""
    model = Words()
    data = TensorDataset(torch.randint(0, 1000, (SAMPLES, 40)), torch.randint(0, 10, (SAMPLES,)))
    return Training(data, _ordinary(model, torch.optim.Adam(model.parameters()), functional.cross_entropy))


class ViT(nn.Module):
    """4 blocks of width 192 over 64 patches of 4 x 4 pixels and a class token."""

    def __init__(self, width: int = 192) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(torch.zeros(1, 65, width))
        self.blocks = nn.Sequential(*(_Block(width, 3, False) for _ in range(4)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.places
        return self.head(self.norm(self.blocks(x))[:, 0])


def vit() -> Training:
    """1.8 million parameters, 3 x 32 x 32, AdamW."""
    model = ViT()
    return Training(_images(32), _ordinary(model, torch.optim.AdamW(model.parameters()), functional.cross_entropy))


def gan() -> Training:
    """A generator and a discriminator on 1 x 32 x 32, two Adams, two backwards a step."""
    make = nn.Sequential(
        *(nn.Linear(64, 128 * 8 * 8), nn.Unflatten(1, (128, 8, 8)), nn.BatchNorm2d(128), nn.ReLU()),
        *(nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.BatchNorm2d(64), nn.ReLU()),
        *(nn.ConvTranspose2d(64, 1, 4, 2, 1), nn.Tanh()),
    )
    judge = nn.Sequential(
        *(nn.Conv2d(1, 64, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(64, 128, 4, 2, 1), nn.BatchNorm2d(128)),
        *(nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(128 * 8 * 8, 1)),
    )
    one, two = torch.optim.Adam(make.parameters(), lr=2e-4), torch.optim.Adam(judge.parameters(), lr=2e-4)
    score = functional.binary_cross_entropy_with_logits

    def step(batch: list[Tensor]) -> None:
        (real,) = batch
        fake = make(torch.randn(len(real), 64))
        two.zero_grad(set_to_none=True)
        seen, made = judge(real), judge(fake.detach())
        (score(seen, torch.ones_like(seen)) + score(made, torch.zeros_like(made))).backward()
        two.step()
        one.zero_grad(set_to_none=True)
        again = judge(fake)
        score(again, torch.ones_like(again)).backward()
        one.step()

    return Training(TensorDataset(torch.randn(SAMPLES, 1, 32, 32)), step)


BUILDS: dict[str, Callable[[], Training]] = {one.__name__: one for one in (resnet18, unet, gpt, lstm, vit, gan)}
