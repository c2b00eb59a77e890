"""Runs scenarios one after another as plain scripts and writes their losses and final weights to a file.

Usage: identity_child.py RESULT CASES, where CASES is JSON: [[scenario, [argument, ...]], ...]. With PLANT set to
`module:Class.name` that function of the probe raises from the import of torch on, where there is a probe.
"""

from __future__ import annotations

import hashlib
import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

import torch

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"


def plant(where: str) -> None:
    """Break one function of the probe."""
    module, _, path = where.partition(":")
    owner: Any = sys.modules.get(f"_memtop_probe.{module}")
    if owner is None:
        return
    *holders, name = path.split(".")
    for holder in holders:
        owner = getattr(owner, holder)
    assert callable(getattr(owner, name))

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("planted")

    setattr(owner, name, broken)


def run(scenario: str, arguments: list[str]) -> dict[str, Any]:
    """One script: its exit status, the bits of its losses, and of every parameter and optimizer state at the end."""
    losses: list[str] = []
    optimizers: dict[int, Any] = {}
    backward, zero_grad = torch.Tensor.backward, torch.optim.Optimizer.zero_grad

    def noted_backward(self: Any, *args: Any, **kwargs: Any) -> None:
        losses.append(float(self.detach()).hex())
        backward(self, *args, **kwargs)

    def noted_zero_grad(self: Any, *args: Any, **kwargs: Any) -> None:
        optimizers[id(self)] = self
        zero_grad(self, *args, **kwargs)

    torch.Tensor.backward = noted_backward  # type: ignore[method-assign,assignment]
    torch.optim.Optimizer.zero_grad = noted_zero_grad  # type: ignore[method-assign]
    script = str(SCENARIOS / scenario / "train.py")
    sys.argv = [script, *arguments]
    status: Any = None
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        status = end.code
    finally:
        torch.Tensor.backward, torch.optim.Optimizer.zero_grad = backward, zero_grad  # type: ignore[method-assign]
    return {"status": status, "losses": losses, "bits": digest(list(optimizers.values()))}


def digest(optimizers: list[Any]) -> str:
    """A hash of all that training has changed."""
    sha = hashlib.sha256()
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                state = optimizer.state[parameter]
                for tensor in (parameter, *(value for _, value in sorted(state.items()) if value is not None)):
                    sha.update(tensor.detach().numpy().tobytes() if torch.is_tensor(tensor) else repr(tensor).encode())
    return sha.hexdigest()


if __name__ == "__main__":
    plant(os.environ.get("PLANT", ""))
    result, answers = Path(sys.argv[1]), []
    for scenario, arguments in json.loads(sys.argv[2]):
        print(f"== {scenario}", flush=True)
        answers.append(run(scenario, arguments))
    facts = {"path": sys.path, "user": getattr(sys, "users_sitecustomize", None), "cases": answers}
    result.write_text(json.dumps(facts))
    sys.exit(7)
