"""Trainings as strangers write them: some leak, some only look as if.

Usage: strangers.py KIND [STEPS [SECONDS A STEP]], KIND the name of a function below. A mark at a line's end says what
leaks there.
"""

import copy
import functools
import sys
import time
from collections import OrderedDict, deque

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class Trainer:
    """Keeps what each step made, as many do for a summary that never comes."""

    def __init__(self, model):
        self.model, self.outputs = model, []

    def training_step(self, x):
        logits = self.model(x)
        loss = F.mse_loss(logits, x)  # leaks: trainer
        self.outputs.append({"loss": loss, "logits": logits})
        return loss


class Writer:
    """As a logger that is flushed at the end of the run."""

    def __init__(self):
        self.rows = []

    def add_scalar(self, tag, value, step):
        self.rows.append((tag, value, step))


class Square(torch.autograd.Function):
    """Keeps its result on `ctx`: a circle that the collector has to find."""

    @staticmethod
    def forward(ctx, x):
        ctx.x, ctx.y = x, x * x
        return ctx.y

    @staticmethod
    def backward(ctx, grad):
        return 2 * ctx.x * grad


def batches(steps, size=4):
    for _ in range(steps):
        yield torch.randn(size, 8)


def trained(model, optimizer, x, step=None):
    optimizer.zero_grad()
    out = model(x)
    loss = F.mse_loss(out, x)
    loss.backward()
    optimizer.step()
    return out, loss


# -- leaks in each step ----------------------------------------------------------------------------------------------


def trainer(model, optimizer, steps, pause):
    runner = Trainer(model)
    for x in batches(steps):
        optimizer.zero_grad()
        runner.training_step(x).backward()
        optimizer.step()
        pause()


def hook(model, optimizer, steps, pause):
    seen = {"hidden": []}
    model[0].register_forward_hook(lambda module, given, made: seen["hidden"].append(made.detach()))
    for x in batches(steps):
        optimizer.zero_grad()
        out = model(x)  # leaks: hook
        F.mse_loss(out, x).backward()
        optimizer.step()
        pause()


def retain(model, optimizer, steps, pause):
    total = []
    for x in batches(steps):
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), x)  # leaks: retain
        loss.backward(retain_graph=True)
        total.append(loss)
        optimizer.step()
        pause()


def traceback(model, optimizer, steps, pause):
    errors = []

    def validate(x):
        scores = model(x).detach() * 2  # leaks: traceback
        if scores.isfinite().all():
            raise ValueError("not what was expected")

    for x in batches(steps):
        trained(model, optimizer, x)
        try:
            validate(x)
        except ValueError as error:
            errors.append(error)
        pause()


def prefetch(model, optimizer, steps, pause):
    data = DataLoader(TensorDataset(torch.randn(4 * 90, 8)), batch_size=4)
    fetched = []
    for number in range(steps):
        if number % 90 == 0:
            loader = iter(data)
        fetched.append(next(loader)[0] * 1.0)  # leaks: prefetch
        trained(model, optimizer, fetched[-1])
        pause()


# -- leaks now and then ----------------------------------------------------------------------------------------------


def tensorboard(model, optimizer, steps, pause):
    writer = Writer()
    for step, x in enumerate(batches(steps)):
        out, _ = trained(model, optimizer, x)
        if step % 50 == 0:
            writer.add_scalar("error", (out - x).abs().sum(1), step)  # leaks: tensorboard
        pause()


def every_tenth(model, optimizer, steps, pause):
    history = []
    for step, x in enumerate(batches(steps)):
        out, _ = trained(model, optimizer, x)
        if step % 10 == 0:
            history.append(out.detach() - x)  # leaks: every_tenth
        pause()


def evaluated(model, optimizer, steps, pause):
    predictions = []
    for step, x in enumerate(batches(steps)):
        trained(model, optimizer, x)
        if step % 20 == 19:
            with torch.no_grad():
                predictions.append(torch.cat([model(torch.randn(16, 8)) for _ in range(4)]))  # leaks: evaluated
        pause()


def epochs(model, optimizer, steps, pause):
    data = DataLoader(TensorDataset(torch.randn(4 * 40, 8)), batch_size=4)
    history = []
    for _ in range(steps // 40):
        outputs = []
        for (x,) in data:
            out, _ = trained(model, optimizer, x)
            outputs.append(out.detach())
            pause()
        history.append(torch.stack(outputs))  # leaks: epochs


def late(model, optimizer, steps, pause):
    best = []
    for step, x in enumerate(batches(steps)):
        out, _ = trained(model, optimizer, x)
        if step >= 100:
            best.append((out - x).detach().square())  # leaks: late
        pause()


# -- honest ----------------------------------------------------------------------------------------------------------


def context(model, optimizer, steps, pause):
    for x in batches(steps):
        optimizer.zero_grad()
        Square.apply(model(x)).mean().backward()
        optimizer.step()
        pause()


def replay(model, optimizer, steps, pause, room=64):
    memory = deque(maxlen=room)
    for x in batches(steps):
        out, loss = trained(model, optimizer, x)
        memory.append((x, out.detach(), loss.detach()))
        pause()


def roomy_replay(model, optimizer, steps, pause):
    replay(model, optimizer, steps, pause, 100_000)


def ring(model, optimizer, steps, pause):
    memory = [None] * 1000
    for step, x in enumerate(batches(steps)):
        out, _ = trained(model, optimizer, x)
        memory[step % len(memory)] = out.detach()
        pause()


def ema_copy(model, optimizer, steps, pause):
    average = copy.deepcopy(model)
    best = None
    for step, x in enumerate(batches(steps)):
        trained(model, optimizer, x)
        with torch.no_grad():
            for mine, theirs in zip(average.parameters(), model.parameters(), strict=True):
                mine.copy_(0.99 * mine + 0.01 * theirs)
        if step % 25 == 0:
            best = copy.deepcopy(model.state_dict())  # noqa: F841 - replaced each time
        pause()


def accumulation(model, optimizer, steps, pause):
    losses = []
    for number, x in enumerate(batches(4 * steps)):
        loss = F.mse_loss(model(x), x)
        losses.append(loss)
        loss.backward(retain_graph=True)
        if number % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()
            losses.clear()
            pause()


def curriculum(model, optimizer, steps, pause):
    for step in range(steps):
        trained(model, optimizer, torch.randn(4 + min(step, steps // 2), 8))
        pause()


def evaluation(model, optimizer, steps, pause):
    best = 0.0
    for step, x in enumerate(batches(steps)):
        trained(model, optimizer, x)
        if step % 20 == 19:
            with torch.no_grad():
                predictions = [model(torch.randn(16, 8)) for _ in range(8)]
                best = max(best, torch.cat(predictions).mean().item())
        pause()


def epoch_metrics(model, optimizer, steps, pause):
    data = DataLoader(TensorDataset(torch.randn(4 * 200, 8)), batch_size=4)
    for _ in range(steps // 200):
        outputs = []
        for (x,) in data:
            out, _ = trained(model, optimizer, x)
            outputs.append(out.detach())
            pause()
        print(round(torch.cat(outputs).mean().item(), 1) > 9)


def lru(model, optimizer, steps, pause):
    @functools.lru_cache(maxsize=10_000)
    def positions(length):
        return torch.arange(8.0) * length

    cache = OrderedDict()
    for step, x in enumerate(batches(steps)):
        cache[step] = x + positions(step)
        if len(cache) > 32:
            cache.popitem(last=False)
        trained(model, optimizer, cache[step])
        pause()


def generated(model, optimizer, steps, pause):
    keys = torch.zeros(1, 8)
    for step, x in enumerate(batches(steps)):
        out, _ = trained(model, optimizer, x)
        keys = out.detach() if step % 60 == 0 else torch.cat([keys, out.detach()])
        pause()


def main():
    torch.manual_seed(1)
    torch.set_num_threads(1)
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 300
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 0.01
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 8))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    # As long as a real step: the probe looks by the clock.
    globals()[sys.argv[1]](model, optimizer, steps, lambda: time.sleep(seconds))


if __name__ == "__main__":
    main()
