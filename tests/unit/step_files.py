"""Steps of small models looked at in this process, as the files that the probe writes for a plan."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from memtop.launcher.events_folder import EventsFolder
from memtop.model.step_events import StepEvents
from tests.unit.deep_driver import Driver, Seen, modules_of

Optimizer = Callable[[Any], Any]
Batch = Callable[[int], tuple[Any, Any]]


def images(count: int) -> tuple[Any, Any]:
    return torch.randn(count, 3, 32, 32), torch.randint(0, 10, (count,))


def adam(parameters: Any) -> Any:
    return torch.optim.Adam(parameters, lr=1e-3)


def mlp() -> Any:
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 128), nn.ReLU(), nn.Linear(128, 10))


def cnn() -> Any:
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(2048, 10)),
    )


def looked(
    model: Any, batch: int, optimizer: Optimizer = adam, forward: Any = None, make: Batch | None = None
) -> tuple[StepEvents, Seen]:
    """The third step of a training with this batch size: its storages, and what the look's records say. `forward`
    stands in for the model's own; `make` gives samples and labels, images where it is left out."""
    steps = optimizer(model.parameters())
    driver = Driver(steps, modules=modules_of(model))
    x, y = (make or images)(batch)

    def step() -> Any:
        steps.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy((forward or model)(x).flatten(0, -2), y.flatten())
        loss.backward()
        steps.step()
        return loss.detach()

    kept = [step(), step()]
    kept.pop(0)
    with EventsFolder() as folder:
        os.environ.update(folder.environment)
        try:
            seen = driver.look(lambda: kept.append(step()))
        finally:
            for name in folder.environment:
                del os.environ[name]
        (events,) = folder.read()
    return events, seen
