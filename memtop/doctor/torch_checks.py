"""Checks of the target's Python and torch, from what the worker said of them."""

from __future__ import annotations

import platform
import sys
from typing import Any

from memtop.doctor.report import Finding, error, ok, warning
from memtop.doctor.worker import Facts, Worker
from memtop.model import units

INSTALL = "pip install torch (see pytorch.org/get-started), or name another Python with --python"

_HOOKS = {
    "optimizer_hooks": "torch.optim.optimizer.register_optimizer_step_post_hook",
    "backward": "torch.autograd.backward",
    "saved_data": "SavedTensor.data",
}
"""What the probe leans on, and its name in torch."""


def python(worker: Worker, chosen: str | None) -> Finding:
    """Our own Python, and the one that trains."""
    ours = platform.python_version()
    facts = worker.facts("python")
    if worker.failure is not None:
        return error(f"{worker.failure}", "name a Python that can be started")
    theirs = facts.get("python")
    if theirs is None:
        return _unreadable(worker)
    if _version(theirs) < (3, 10):
        return error(f"{theirs} ({facts.get('executable')}) is too old", "train with Python 3.10 or newer")
    if chosen is None or chosen == sys.executable:
        return ok(f"{ours} ({sys.executable})")
    return ok(f"{theirs} ({facts.get('executable')}) trains, {ours} watches")


def torch(worker: Worker) -> Finding:
    """Which torch is installed, where, and of which build."""
    facts = worker.facts("torch")
    if "torch" not in facts:
        return _unreadable(worker)
    if facts["torch"] is None:
        if facts.get("missing"):
            return error(f"not installed in {facts.get('executable')}", INSTALL)
        return error(f"import torch failed: {facts.get('import_error')}", "mend that installation: memtop only runs it")
    text = f"{facts['torch']} ({facts.get('build')}) in {facts.get('path')}"
    seconds = facts.get("import_seconds")
    text += f", imported in {units.duration(seconds)}" if isinstance(seconds, (int, float)) else ""
    if _version(facts["torch"]) < (2, 4):
        return warning(f"{text}: older than memtop is tested with", "upgrade to torch 2.4 or newer")
    return ok(text)


def _unreadable(worker: Worker) -> Finding:
    if worker.failure is not None:
        return error(f"not asked: {worker.failure}", "name a Python that can be started")
    words = worker.last_words
    said = f'; it said "{words[:160]}"' if words else ""
    return error(f"that Python's answer can't be read (exit status {worker.status}){said}", INSTALL)


def hooks(worker: Worker) -> Finding:
    """Whether the probe's ways into a training exist in this torch."""
    facts = _known(worker.facts("hooks"))
    if facts is None:
        return warning("not asked: no torch", None)
    found: dict[str, Any] = facts.get("hooks") or {}
    missing = [name for key, name in _HOOKS.items() if not found.get(key)]
    if not missing:
        return ok(", ".join(_HOOKS.values()))
    return warning(f"this torch lacks {', '.join(missing)}: fewer figures are known", "upgrade to torch 2.4 or newer")


def cuda(worker: Worker) -> Finding:
    """CUDA as torch sees it."""
    facts = _known(worker.facts("cuda_available"))
    if facts is None:
        return warning("not asked: no torch", None)
    if facts.get("cuda_available"):
        devices = facts.get("devices") or []
        names = ", ".join(f"cuda:{index} {device.get('name')}" for index, device in enumerate(devices))
        return ok(names or "available, without a device")
    if facts.get("mps"):
        return ok("none; Apple's GPU (mps) is available")
    if facts.get("build") == "cpu":
        return warning("this torch is built for the CPU alone", "with a GPU: install torch with CUDA from pytorch.org")
    reason = (facts.get("errors") or {}).get("cuda_available")
    text = f"torch finds no device ({facts.get('build')}){f': {reason}' if reason else ''}"
    return warning(text, "see NVML and driver below; CUDA_VISIBLE_DEVICES may hide the devices")


def allocator(worker: Worker) -> Finding:
    """Which allocator holds device memory, and how it is configured."""
    facts = _known(worker.facts("allocator"))
    if facts is None:
        return warning("not asked: no torch", None)
    variables = facts.get("allocator_variables") or {}
    text = "".join(f", {name}={value}" for name, value in variables.items())
    backend = facts.get("allocator")
    if backend is None:
        return ok(f"the CPU's, which keeps no count{text}")
    if backend != "native":
        message = f"{backend}{text}: several of its statistics read zero and mean nothing"
        return warning(message, "unset backend: in PYTORCH_CUDA_ALLOC_CONF for exact figures")
    return ok(f"{backend}{text}")


def built_with(worker: Worker) -> str | None:
    """The CUDA version that torch was built with; `None` without one."""
    built = worker.facts("cuda_build").get("cuda_build")
    return built if isinstance(built, str) else None


def driver_fits(built: str, supported: str | None) -> Finding:
    """Whether the driver is new enough for the CUDA that torch was built with; minor versions go together."""
    if supported is None:
        return warning(f"torch was built with CUDA {built}; no driver answers", "see NVML above")
    text = f"torch was built with CUDA {built}, the driver supports up to {supported}"
    if _version(built)[:1] > _version(supported)[:1]:
        return warning(text, f"update the driver, or install a torch built with CUDA {supported} or older")
    return ok(text)


def _known(facts: Facts) -> Facts | None:
    """The facts where there is a torch."""
    return facts if facts.get("torch") else None


def _version(text: str) -> tuple[int, ...]:
    """`2.13.0+cpu` is (2, 13, 0)."""
    parts = text.partition("+")[0].split(".")[:3]
    return tuple(int("".join(c for c in part if c.isdecimal()) or 0) for part in parts)
