"""Run by path in the target's Python: says on stdout, as JSON lines, what its torch is and offers.

Standard library and torch only. One line at once, one when torch is imported, one with what CUDA answers: each holds
all that is known, so whoever reads takes the last, and a CUDA that hangs does not hide the torch. Each question
has its own guard: one that fails is `None`, and `errors` says why.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

Facts = dict[str, Any]

MARK = "memtop_doctor"
"""The key by which a reader knows our lines among others that torch or a sitecustomize may print."""

HOOK = "register_optimizer_step_post_hook"

ALLOCATOR_VARIABLES = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")


def ask(facts: Facts, name: str, question: Callable[[], Any]) -> None:
    """Put the answer under `name`; a failure is `None` with its reason."""
    try:
        facts[name] = question()
    except Exception as error:
        facts[name] = None
        facts["errors"][name] = f"{type(error).__name__}: {error}"[:500]


def say(facts: Facts) -> None:
    """One line. ASCII, so that no encoding can break it."""
    sys.stdout.write("\n" + json.dumps(facts) + "\n")
    sys.stdout.flush()


def python_facts() -> Facts:
    """Which Python this is."""
    facts: Facts = {MARK: 1, "errors": {}, "python": sys.version.split()[0], "executable": sys.executable}
    facts["allocator_variables"] = {name: os.environ[name] for name in ALLOCATOR_VARIABLES if name in os.environ}
    return facts


def import_torch(facts: Facts) -> ModuleType | None:
    """torch, or `None` with the reason under `import_error`."""
    began = time.perf_counter()
    try:
        import torch
    except BaseException as error:
        facts["torch"] = None
        facts["missing"] = isinstance(error, ModuleNotFoundError) and error.name == "torch"
        facts["import_error"] = f"{type(error).__name__}: {error}"[:500]
        return None
    facts["import_seconds"] = round(time.perf_counter() - began, 3)
    module: ModuleType = torch
    return module


def build(torch: Any) -> str:
    """`cpu`, `cuda 13.0` or `rocm 6.4`."""
    if torch.version.cuda:
        return f"cuda {torch.version.cuda}"
    hip = getattr(torch.version, "hip", None)
    return f"rocm {hip}" if hip else "cpu"


def hooks(torch: Any) -> Facts:
    """What the probe leans on, and whether this torch has it."""
    found: Facts = {"errors": {}}
    # By its path: torch.optim deletes the attribute under which its submodule would be found.
    ask(found, "optimizer_hooks", lambda: has(import_module("torch.optim.optimizer"), HOOK))
    ask(found, "backward", lambda: has(torch.autograd, "backward"))
    ask(found, "saved_data", lambda: saved_data(torch))
    ask(found, "saved_tensors_hooks", lambda: has(torch.autograd.graph, "saved_tensors_hooks"))
    del found["errors"]
    return found


def has(where: Any, name: str) -> bool:
    """Whether there is such a callable."""
    return callable(getattr(where, name, None))


def saved_data(torch: Any) -> bool:
    """Whether a saved tensor can be read without unpacking it: by trying, on four bytes."""
    product = torch.ones(1, requires_grad=True) * torch.ones(1)
    return product.grad_fn._raw_saved_other.data is not None


def devices(torch: Any) -> list[Facts]:
    """Name, UUID and bytes of each CUDA device, as torch numbers them."""
    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        uuid = getattr(properties, "uuid", None)
        found.append({"name": properties.name, "uuid": uuid and str(uuid), "bytes": properties.total_memory})
    return found


def torch_facts(torch: Any, facts: Facts) -> None:
    """What is known without touching a device."""
    facts["torch"] = str(torch.__version__)
    ask(facts, "path", lambda: str(Path(torch.__file__).parent))
    ask(facts, "build", lambda: build(torch))
    ask(facts, "cuda_build", lambda: torch.version.cuda)
    ask(facts, "hooks", lambda: hooks(torch))
    ask(facts, "mps", lambda: bool(torch.backends.mps.is_available()))


def cuda_facts(torch: Any, facts: Facts) -> None:
    """What a driver may take its time to answer."""
    ask(facts, "cuda_available", lambda: bool(torch.cuda.is_available()))
    ask(facts, "allocator", lambda: torch.cuda.get_allocator_backend() if facts["cuda_available"] else None)
    ask(facts, "devices", lambda: devices(torch) if facts["cuda_available"] else [])


def main() -> None:
    """Print the lines. Exit status 0 whatever is missing."""
    # Python put this file's folder first: its other files must not stand before the standard library's.
    if sys.path and Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
        del sys.path[0]
    facts = python_facts()
    say(facts)
    torch = import_torch(facts)
    if torch is None:
        say(facts)
        return
    torch_facts(torch, facts)
    say(facts)
    cuda_facts(torch, facts)
    say(facts)


if __name__ == "__main__":
    main()
