"""Somebody's training that, in its middle, saves, copies, scripts and sends away its model, and saves again.

Usage: saves.py FOLDER. At each of the first four steps it happens at three places: before forward, between forward
and backward, and after the step. Prints a digest of all that came out.
"""

import copy
import hashlib
import multiprocessing
import pickle
import sys
from pathlib import Path

import torch


class Net(torch.nn.Module):
    """Something with a buffer and a tied weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(12, 12)
        self.norm = torch.nn.BatchNorm1d(12)
        self.last = torch.nn.Linear(12, 12)
        self.last.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.norm(self.first(x))))


def flat(model: torch.nn.Module) -> bytes:
    return b"".join(tensor.detach().double().numpy().tobytes() for tensor in model.state_dict().values())


def answer(data: bytes, queue: "multiprocessing.Queue[str]") -> None:
    model, optimizer = pickle.loads(data)
    kept = sum(len(state) for state in optimizer["state"].values())
    queue.put(hashlib.sha256(flat(model)).hexdigest() + f" {kept}")


def sent(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> str:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    data = pickle.dumps((model, optimizer.state_dict()))
    child = context.Process(target=answer, args=(data, queue))
    child.start()
    said = queue.get(timeout=60)
    child.join()
    return said


def keep(folder: Path, name: str, model: torch.nn.Module, optimizer: torch.optim.Optimizer, seen: "list[str]") -> None:
    torch.save(model, folder / f"{name}.pt")
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, folder / f"{name}.state.pt")
    torch.save(optimizer, folder / f"{name}.optimizer.pt")
    twin, other = copy.deepcopy((model, optimizer))
    scripted = torch.jit.script(model)
    scripted.save(str(folder / f"{name}.script.pt"))
    seen.append(hashlib.sha256(flat(model) + flat(twin) + flat(scripted)).hexdigest())
    seen.append(str([len(state) for state in other.state.values()]))
    seen.append(str(sorted(vars(model))) + str(sorted(vars(optimizer))) + str(sorted(vars(type(model)))))


def main() -> None:
    torch.manual_seed(3)
    torch.set_num_threads(1)
    folder, seen = Path(sys.argv[1]), []
    model = Net()
    optimizer = torch.optim.Adam(model.parameters())
    for step in range(4):
        keep(folder, f"{step}-before", model, optimizer, seen)
        optimizer.zero_grad()
        loss = model(torch.randn(16, 12)).square().mean()
        keep(folder, f"{step}-between", model, optimizer, seen)
        loss.backward()
        optimizer.step()
        keep(folder, f"{step}-after", model, optimizer, seen)
    seen.append(sent(model, optimizer))
    print("\n".join(seen))


if __name__ == "__main__":
    main()
