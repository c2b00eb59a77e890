"""The model in figures: what a `model` record says."""

from __future__ import annotations

from typing import Any

from .inputs import Inputs
from .storages import device_name, storages
from .tracker import Tracker

_ROOTS_NAMED = 4


def model(tracker: Tracker, inputs: Inputs) -> dict[str, Any]:
    """Name, element counts, bytes and inputs, as `wire.model` takes them. Elements are those of the whole model, bytes
    those of this rank's shards."""
    seen: set[int] = set()
    elements = trainable = size = trainable_size = 0
    by_device: dict[str, int] = {}
    for one in tracker.parameters():
        held = list(storages(one))
        if not held or held[0]._cdata in seen:
            continue
        seen.update(storage._cdata for storage in held)
        count, bytes_ = one.numel(), sum(storage.nbytes() for storage in held)
        elements, size = elements + count, size + bytes_
        if one.requires_grad:
            trainable, trainable_size = trainable + count, trainable_size + bytes_
        device = device_name(held[0].device)
        by_device[device] = by_device.get(device, 0) + bytes_
    modules = tracker.modules()
    return {
        "name": _name(modules),
        "device": max(by_device, key=lambda name: by_device[name]) if by_device else None,
        "parameters": elements,
        "trainable_parameters": trainable,
        "bytes": {"parameters": size, "trainable": trainable_size, "buffers": _buffer_bytes(tracker, seen)},
        "modules": sum(1 for one in modules if _weighs(one)) or None,
        "optimizers": [type(one).__name__ for one in tracker.optimizers()],
        "inputs": [{"shape": list(shape), "dtype": dtype, "bytes": count} for shape, dtype, count in inputs.shapes],
        "micro_batches": inputs.usual,
        "sequence": inputs.sequence,
    }


def _buffer_bytes(tracker: Tracker, seen: set[int]) -> int:
    """Bytes of the buffers whose storage no parameter has claimed."""
    held = (storage for one in tracker.buffers() for storage in storages(one))
    fresh = {storage._cdata: storage.nbytes() for storage in held if storage._cdata not in seen}
    return sum(fresh.values())


def _weighs(module: Any) -> bool:
    """Whether a module belongs to a model: it holds parameters, or modules, or stands inside one (losses do not)."""
    return bool(module._parameters or module._buffers or module._modules)


def _name(modules: list[Any]) -> str | None:
    """Class names of the modules that are nobody's child and hold parameters somewhere."""
    children = {id(child) for one in modules for child in one._modules.values()}
    roots = [one for one in modules if id(one) not in children and next(iter(one.parameters()), None) is not None]
    names = [type(one).__name__ for one in roots[:_ROOTS_NAMED]]
    more = len(roots) - len(names)
    return " + ".join(names) + (f" + {more} more" if more > 0 else "") if names else None
