"""Trainings on images for the benchmark of forecasts: what goes in has the side asked for, the model is one.

`IMAGES[name]` is (batch, side that is watched, how to build the training for a side).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from resnet import resnet
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset
from unseen import Diffusion
from varied import Training, UNet, ViT, _ordinary

SAMPLES = 16


def _classes(model: Callable[[], nn.Module]) -> Callable[[int], Training]:
    def build(side: int) -> Training:
        data = TensorDataset(torch.randn(SAMPLES, 3, side, side), torch.randint(0, 10, (SAMPLES,)))
        made = model()
        return Training(data, _ordinary(made, torch.optim.Adam(made.parameters()), functional.cross_entropy))

    return build


def _masks(side: int) -> Training:
    model = UNet()
    data = TensorDataset(torch.randn(SAMPLES, 3, side, side), torch.randint(0, 2, (SAMPLES, side, side)))
    return Training(data, _ordinary(model, torch.optim.Adam(model.parameters()), functional.cross_entropy))


def _noise(side: int) -> Training:
    model = Diffusion()
    adam = torch.optim.Adam(model.parameters())

    def step(batch: list[Tensor]) -> None:
        (x,) = batch
        level, noise = torch.rand(len(x)), torch.randn_like(x)
        adam.zero_grad(set_to_none=True)
        functional.mse_loss(model(x + level[:, None, None, None] * noise, level), noise).backward()
        adam.step()

    return Training(TensorDataset(torch.randn(SAMPLES, 3, side, side)), step)


def _unpadded() -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(inputs, outputs, 3), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64 * 16, 10))


def _flattened() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.LazyLinear(10))


def _lazily(side: int) -> Training:
    def build() -> nn.Module:
        model = _flattened()
        model(torch.zeros(1, 3, side, side))
        return model

    return _classes(build)(side)


IMAGES: dict[str, tuple[int, int, Callable[[int], Training]]] = {
    "resnet18": (4, 32, _classes(resnet)),
    "resnet18-odd": (4, 45, _classes(resnet)),
    "unet": (2, 64, _masks),
    "diffusion": (4, 40, _noise),
    "diffusion-64": (4, 32, _noise),
    "unpadded": (8, 64, _classes(_unpadded)),
    "vit": (4, 32, _classes(ViT)),
    "flattened": (8, 32, _lazily),
}
