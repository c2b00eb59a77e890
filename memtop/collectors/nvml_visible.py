"""Which GPUs a process would see, by its environment, before its own torch has said so. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Final

_NUMBER: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)


def visible_devices(
    uuids_in_nvml_order: Sequence[str], env: Mapping[str, str], names: Sequence[str | None] = ()
) -> dict[str, str]:
    """UUID -> `cuda:N` as CUDA would number them under `env`; what can't be known is left out.

    `CUDA_VISIBLE_DEVICES` holds indices, or (prefixes of) `GPU-` or `MIG-` UUIDs; the first invalid entry ends it,
    a repeated one empties it. NVML numbers by PCI bus, CUDA with the fastest first unless `CUDA_DEVICE_ORDER` is
    `PCI_BUS_ID`: an index means a certain GPU only then, or where there is one GPU, or where all of them have one
    name (`names`, beside the UUIDs). With MIG on, an index means an instance that NVML does not tell.
    Source: CUDA's programming guide ("CUDA environment variables") and torch's own reading of them.
    """
    wanted = env.get("CUDA_VISIBLE_DEVICES")
    if wanted is not None and wanted.startswith(("GPU-", "MIG-")):
        return _by_uuid(uuids_in_nvml_order, wanted)
    indices = range(len(uuids_in_nvml_order)) if wanted is None else _indices(wanted, len(uuids_in_nvml_order))
    if any(uuid.startswith("MIG-") for uuid in uuids_in_nvml_order):
        return {}
    same = len(names) == len(uuids_in_nvml_order) and None not in names and len(set(names)) == 1
    if not (same or len(uuids_in_nvml_order) == 1 or env.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"):
        return {}
    return {uuids_in_nvml_order[index]: f"cuda:{place}" for place, index in enumerate(indices)}


def _indices(wanted: str, count: int) -> list[int]:
    """The leading valid indices of a comma-separated list; `1gpu` is read as 1, as strtoul does."""
    found: list[int] = []
    for entry in wanted.split(","):
        match = _NUMBER.match(entry.strip())
        index = int(match.group()) if match else -1
        if index in found:
            return []
        if index < 0:
            break
        found.append(index)
    return list(takewhile(lambda index: index < count, found))


def _by_uuid(uuids: Sequence[str], wanted: str) -> dict[str, str]:
    """GPUs by prefixes that fit exactly one; of MIG instances CUDA takes the first alone."""
    kind = wanted[:4]
    entries = list(takewhile(lambda entry: entry.startswith(kind), wanted.split(",")))
    found: list[str] = []
    for entry in entries:
        fitting = [uuid for uuid in uuids if uuid.startswith(entry)]
        if len(fitting) != 1:
            break
        found.append(fitting[0])
    if len(set(found)) < len(found) or len(set(entries)) < len(entries):
        return {}
    return {uuid: f"cuda:{place}" for place, uuid in enumerate(found[:1] if kind == "MIG-" else found)}
