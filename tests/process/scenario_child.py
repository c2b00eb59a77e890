"""Runs scenarios one after another in one process, so that torch is imported once, and says what they did.

Reads a JSON list of cases on stdin, `{"scenario", "args", "patch": {"module.NAME": value}}`; writes a JSON list. What
is measured comes from a dispatch mode around the first step, and from the loader, the optimizer and the modules.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import hashlib
import importlib
import io
import json
import resource
import runpy
import sys
import weakref
from pathlib import Path
from typing import Any

# ruff: noqa: E402 - before torch comes, what a scenario must not need is shut out: `None` makes an import fail.
sys.modules |= dict.fromkeys(("numpy", "torchvision", "memtop"))  # type: ignore[arg-type]

ROOT = Path(__file__).resolve().parents[2] / "scenarios"
sys.path.insert(0, str(ROOT))

import common.cli
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.data.dataloader import _BaseDataLoaderIter
from torch.utils.weak import WeakIdKeyDictionary


def nbytes(tensors: Any) -> int:
    """Bytes of the tensors' storages, each storage once."""
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


class Births(TorchDispatchMode):
    """Keeps the storages that operators made and that are still alive."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: Any = WeakIdKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage()._cdata not in given:
                self.storages[tensor.untyped_storage()] = tensor.untyped_storage().nbytes()
        return made


class Case:
    """One run of one scenario, watched."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {"losses": []}
        self.births: Births | None = None
        self.optimizer: torch.optim.Optimizer | None = None
        self.losses: list[weakref.ref[torch.Tensor]] = []

    def zero_grad(self) -> None:
        if self.births is None:
            self.births = Births()
            self.births.__enter__()

    def backward(self, loss: torch.Tensor) -> None:
        if "forward_end" not in self.found and self.births is not None:
            gc.collect()
            self.found["forward_end"] = sum(self.births.storages.values())
            self.births.__exit__(None, None, None)
        self.found["losses"].append(loss.item().hex())
        self.losses.append(weakref.ref(loss))

    def stepped(self, optimizer: torch.optim.Optimizer) -> None:
        if self.optimizer is None:
            modules = [each for each in gc.get_objects() if issubclass(type(each), nn.Module)]
            self.found["buffers"] = nbytes(b for m in modules for b in m._buffers.values() if b is not None)
        self.optimizer = optimizer
        self.found["loss_tensors"] = sum(loss() is not None for loss in self.losses)

    def batch(self, batch: Any) -> None:
        x, y = batch
        self.found["batch"] = [list(x.shape), x.untyped_storage().nbytes(), y.untyped_storage().nbytes()]
        self.found["contiguous"] = x.is_contiguous() and x.dtype is torch.float32 and y.dtype is torch.int64
        self.found["inputs"] = nbytes((x, y))

    def finish(self) -> None:
        if self.optimizer is None:
            return
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        digest = hashlib.sha256()
        for p in parameters:
            digest.update(ctypes.string_at(p.data_ptr(), p.numel() * p.element_size()))
        states = self.optimizer.state.values()
        self.found |= {
            "weights": digest.hexdigest(),
            "elements": sum(p.numel() for p in parameters),
            "parameters": nbytes(parameters),
            "gradients": nbytes(p.grad for p in parameters if p.grad is not None),
            "optimizer_state": nbytes(t for state in states for t in state.values() if isinstance(t, torch.Tensor)),
        }


case = Case()


def watch() -> None:
    """Tells the present case what happens. Every original runs as it is."""
    zero_grad, backward = torch.optim.Optimizer.zero_grad, torch.Tensor.backward
    following, parse = _BaseDataLoaderIter.__next__, common.cli.Parser.parse_args

    def watched_zero_grad(self: Any, *args: Any, **kwargs: Any) -> Any:
        zero_grad(self, *args, **kwargs)
        case.zero_grad()

    def watched_backward(self: Any, *args: Any, **kwargs: Any) -> Any:
        case.backward(self)
        return backward(self, *args, **kwargs)

    def watched_next(self: Any) -> Any:
        batch = following(self)
        case.batch(batch)
        return batch

    def watched_parse(self: Any, *args: Any, **kwargs: Any) -> Any:
        namespace = parse(self, *args, **kwargs)
        case.found["arguments"] = vars(namespace)
        return namespace

    torch.optim.Optimizer.zero_grad = watched_zero_grad  # type: ignore[method-assign]
    torch.Tensor.backward = watched_backward  # type: ignore[method-assign,assignment]
    _BaseDataLoaderIter.__next__ = watched_next  # type: ignore[method-assign]
    common.cli.Parser.parse_args = watched_parse  # type: ignore[method-assign,assignment]
    register_optimizer_step_post_hook(lambda optimizer, *_: case.stepped(optimizer))


@contextlib.contextmanager
def patched(values: dict[str, Any]) -> Any:
    """Module constants replaced for one case: digests and addresses of the files that the test made."""
    before = {}
    for name, value in values.items():
        module, _, attribute = name.rpartition(".")
        before[name] = getattr(importlib.import_module(module), attribute)
        setattr(importlib.import_module(module), attribute, value)
    try:
        yield
    finally:
        for name, value in before.items():
            module, _, attribute = name.rpartition(".")
            setattr(importlib.import_module(module), attribute, value)


def run(scenario: str, args: list[str], patch: dict[str, Any]) -> dict[str, Any]:
    """One scenario with these arguments: its exit status, what it printed, what was measured."""
    global case
    case = Case()
    gc.collect()
    limit = resource.getrlimit(resource.RLIMIT_AS)
    script = ROOT / scenario / "train.py"
    sys.argv = [str(script), *args]
    out, err = io.StringIO(), io.StringIO()
    with patched(patch), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as end:
            status = end.code
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limit)  # a scenario's cap on memory is for itself alone
    case.finish()
    return {**case.found, "status": status, "stdout": out.getvalue(), "stderr": err.getvalue()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    watch()
    answers = [run(each["scenario"], each["args"], each["patch"]) for each in json.load(sys.stdin)]
    json.dump(answers, sys.stdout)
