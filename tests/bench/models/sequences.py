"""Trainings on sequences for the benchmark of forecasts: what goes in has the length asked for, the model is one.

`SEQUENCES[name]` is (batch, length that is watched, how to build the training for a length), of at most `LONGEST`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset
from varied import GPT, Training, Words

LONGEST = 1024
SAMPLES = 64


class Scores(nn.Module):
    """Two layers of attention written out, 64 wide, with a mask made anew each time."""

    def __init__(self, width: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.words, self.places = nn.Embedding(100, width), nn.Parameter(torch.zeros(LONGEST, width))
        self.layers = nn.ModuleList([nn.Linear(width, 3 * width) for _ in range(2)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 100)

    def forward(self, x: Tensor) -> Tensor:
        where = torch.arange(x.shape[1])
        ahead = where[:, None] < where[None, :]
        y = self.words(x) + self.places[: x.shape[1]]
        for layer in self.layers:
            query, key, value = layer(self.norm(y)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
            scores = (query @ key.transpose(-2, -1)).masked_fill(ahead, -1e9).softmax(-1)
            y = y + (scores @ value).transpose(1, 2).flatten(2)
        return self.head(y)


class Encoder(nn.Module):
    """torch's own encoder with a token put in front, which alone is read at the end."""

    def __init__(self, width: int = 96) -> None:
        super().__init__()
        self.words, self.first = nn.Embedding(500, width), nn.Parameter(torch.zeros(1, 1, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, batch_first=True)
        self.layers, self.head = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([self.first.expand(len(x), -1, -1), self.words(x)], 1)
        return self.head(self.layers(y)[:, 0])


class Gated(nn.Module):
    """A GRU over floats, its mean at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(20, 64, 2, batch_first=True), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gru(x)[0].mean(1))


class Cells(nn.Module):
    """A loop over time in Python: more tensors, not larger ones."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.cell, self.head = nn.Embedding(1000, 64), nn.LSTMCell(64, 128), nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        y, state = self.words(x), None
        for at in range(x.shape[1]):
            state = self.cell(y[:, at], state)
        return self.head(state[0])


class Convolved(nn.Module):
    """Convolutions over words, without padding."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(1000, 30), nn.Linear(50, 10)
        self.layers = nn.Sequential(nn.Conv1d(30, 50, 5), nn.ReLU(), nn.Conv1d(50, 50, 5), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(self.words(x).transpose(1, 2)).amax(2))


def _training(model: nn.Module, x: Tensor, y: Tensor, shift: bool = False) -> Training:
    adam = torch.optim.Adam(model.parameters(), lr=1e-4)

    def step(batch: list[Tensor]) -> None:
        given, wanted = batch
        adam.zero_grad(set_to_none=True)
        found = model(given)
        if shift:  # As most trainers of language models do it.
            found, wanted = found[:, :-1].contiguous(), given[:, 1:]
        loss = functional.cross_entropy(found.flatten(0, -2), wanted.flatten())
        loss.backward()
        adam.step()

    return Training(TensorDataset(x, y), step)


def _tokens(model: Callable[[], nn.Module], words: int, places: bool, shift: bool = False) -> Callable[[int], Training]:
    """`places`: whether each position has a label."""

    def build(length: int) -> Training:
        x = torch.randint(0, words, (SAMPLES, length))
        y = torch.randint(0, 10, (SAMPLES, length) if places else (SAMPLES,))
        return _training(model(), x, y, shift)

    return build


def _floats(length: int) -> Training:
    return _training(Gated(), torch.randn(SAMPLES, length, 20), torch.randint(0, 10, (SAMPLES,)))


def _gpt() -> Any:
    return GPT(length=LONGEST)


SEQUENCES: dict[str, tuple[int, int, Callable[[int], Training]]] = {
    "gpt": (2, 96, _tokens(_gpt, 512, True)),
    "gpt-shifted": (4, 50, _tokens(_gpt, 512, True, shift=True)),
    "scores": (8, 64, _tokens(Scores, 100, True)),
    "encoder": (8, 48, _tokens(Encoder, 500, False)),
    "lstm": (8, 40, _tokens(Words, 1000, False)),
    "gru-floats": (16, 50, _floats),
    "cells": (8, 40, _tokens(Cells, 1000, False)),
    "convolved": (8, 40, _tokens(Convolved, 1000, False)),
}
