"""Trainings that the rules of the forecast were not made on, for its benchmark: each grows in a way of its own.

`UNSEEN[name]` is (batch that is watched, how to build the training).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset
from varied import Training, _ordinary

SAMPLES = 512


class Experts(nn.Module):
    """Four experts, of which each token takes the two that a router likes best; what they say is gathered by index."""

    def __init__(self, width: int = 96, experts: int = 4) -> None:
        super().__init__()
        self.words, self.router = nn.Embedding(300, width), nn.Linear(width, experts)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)) for _ in range(experts)
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 300)

    def forward(self, x: Tensor) -> Tensor:
        y = self.words(x)
        flat = self.norm(y).flatten(0, 1)
        weights, chosen = self.router(flat).softmax(-1).topk(2, -1)
        made = torch.zeros_like(flat)
        for number, expert in enumerate(self.experts):
            rows, places = (chosen == number).nonzero(as_tuple=True)
            made = made.index_add(0, rows, expert(flat[rows]) * weights[rows, places, None])
        return self.head(y + made.view_as(y))


class Residual(nn.Module):
    """GroupNorm, SiLU and convolution twice, as diffusion models have it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(8, inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.second = nn.Sequential(nn.GroupNorm(8, outputs), nn.SiLU(), nn.Conv2d(outputs, outputs, 3, padding=1))
        self.time, self.around = nn.Linear(64, outputs), nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return self.around(x) + self.second(self.first(x) + self.time(time)[:, :, None, None])


class Attention(nn.Module):
    """Each pixel of a picture with each other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.parts, self.out = (
            nn.GroupNorm(8, width),
            nn.Conv2d(width, 3 * width, 1),
            nn.Conv2d(width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        count, width, height, length = x.shape
        query, key, value = self.parts(self.norm(x)).view(count, 3, width, height * length).unbind(1)
        scores = (query.transpose(1, 2) @ key * width**-0.5).softmax(-1)
        return x + self.out((value @ scores.transpose(1, 2)).view_as(x))


class Diffusion(nn.Module):
    """A U-Net with attention in its middle, told how noisy its picture is."""

    def __init__(self) -> None:
        super().__init__()
        self.begin, self.end = nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(32, 3, 3, padding=1)
        self.down = nn.ModuleList([Residual(32, 32), Residual(32, 64)])
        self.middle, self.attention = Residual(64, 64), Attention(64)
        self.up = nn.ModuleList([Residual(128, 32), Residual(64, 32)])
        self.time = nn.Sequential(nn.Linear(1, 64), nn.SiLU(), nn.Linear(64, 64))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        time, skips = self.time(noise[:, None]), []
        x = self.begin(x)
        for down in self.down:
            x = down(x, time)
            skips.append(x)
            x = functional.avg_pool2d(x, 2)
        x = self.attention(self.middle(x, time))
        for up, skip in zip(self.up, reversed(skips), strict=True):
            x = up(torch.cat([functional.interpolate(x, scale_factor=2), skip], 1), time)
        return self.end(x)


class Translator(nn.Module):
    """torch's own encoder and decoder, with attention across; two lengths."""

    def __init__(self, width: int = 96) -> None:
        super().__init__()
        self.words = nn.Embedding(400, width)
        self.both = nn.Transformer(width, 4, 2, 2, 2 * width, batch_first=True)
        self.head = nn.Linear(width, 400)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(y.shape[1])
        return self.head(self.both(self.words(x), self.words(y), tgt_mask=mask, tgt_is_causal=True))


def experts() -> Training:
    """A mixture of experts: how many tokens each gets is the data's choice."""
    model, text = Experts(), torch.randint(0, 300, (SAMPLES, 33))
    loss = lambda found, wanted: functional.cross_entropy(found.flatten(0, 1), wanted.flatten())  # noqa: E731
    data = TensorDataset(text[:, :-1].contiguous(), text[:, 1:].contiguous())
    return Training(data, _ordinary(model, torch.optim.AdamW(model.parameters()), loss))


def diffusion() -> Training:
    """Noise is made of the batch, and is what is to be found."""
    model = Diffusion()
    adamw = torch.optim.AdamW(model.parameters())

    def step(batch: list[Tensor]) -> None:
        (x,) = batch
        level, noise = torch.rand(len(x)), torch.randn_like(x)
        adamw.zero_grad(set_to_none=True)
        functional.mse_loss(model(x + level[:, None, None, None] * noise, level), noise).backward()
        adamw.step()

    return Training(TensorDataset(torch.randn(SAMPLES // 4, 3, 32, 32)), step)


def translator() -> Training:
    """24 words to 17."""
    model = Translator()
    adam = torch.optim.Adam(model.parameters())

    def step(batch: list[Tensor]) -> None:
        x, y = batch
        adam.zero_grad(set_to_none=True)
        functional.cross_entropy(model(x, y[:, :-1]).transpose(1, 2), y[:, 1:]).backward()
        adam.step()

    return Training(TensorDataset(torch.randint(0, 400, (SAMPLES, 24)), torch.randint(0, 400, (SAMPLES, 17))), step)


def contrastive() -> Training:
    """Each sample against each other of the batch: the similarities grow with its square."""
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 32))
    adam = torch.optim.Adam(model.parameters())

    def step(batch: list[Tensor]) -> None:
        (x,) = batch
        adam.zero_grad(set_to_none=True)
        one, two = (functional.normalize(model(x + 0.1 * torch.randn_like(x)), dim=1) for _ in range(2))
        functional.cross_entropy(one @ two.T / 0.1, torch.arange(len(x))).backward()
        adam.step()

    return Training(TensorDataset(torch.randn(8 * SAMPLES, 64)), step)


def distances() -> Training:
    """Squared distances of all samples to all, by a difference of (batch, batch, width)."""
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 16))
    adam = torch.optim.Adam(model.parameters())

    def step(batch: list[Tensor]) -> None:
        x, y = batch
        adam.zero_grad(set_to_none=True)
        made = model(x)
        apart = (made[:, None] - made[None]).square().sum(-1)
        same = y[:, None] == y[None]
        torch.where(same, apart, functional.relu(1 - apart)).mean().backward()
        adam.step()

    return Training(TensorDataset(torch.randn(SAMPLES, 64), torch.randint(0, 10, (SAMPLES,))), step)


UNSEEN: dict[str, tuple[int, Callable[[], Training]]] = {
    "experts": (8, experts),
    "diffusion": (4, diffusion),
    "translator": (8, translator),
    "contrastive": (64, contrastive),
    "distances": (16, distances),
}
