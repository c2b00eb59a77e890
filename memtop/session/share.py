"""Of a sample that several ranks of one host share: what is one rank's.

On the CPU all ranks live in one memory. A rank's records describe its process (with what that started: a loader's
workers) against the whole host: its own PSS makes `runtime`, the other ranks and the launcher are `other_processes`.
So nobody's memory is in two categories of a record, and `free` means the same in all of them. The records of two ranks
must not be added up: each of them is of the whole device.

On a GPU it is the same with NVML's figure of its process: ranks have a GPU each as a rule, and where two share one, or
one opens a context on another's, that is `other_processes` to the other.
"""

from __future__ import annotations

from msgspec.structs import replace

from memtop.model.records import DeviceRecord


def own(sample: DeviceRecord | None, pid: int | None) -> DeviceRecord | None:
    """The sample with the process `pid` alone as ours. What was not read by process is unknown."""
    if sample is None:
        return None
    processes = sample.processes or []
    if sample.device != "cpu":
        return replace(sample, processes=[replace(one, ours=one.ours and one.pid == pid) for one in processes])
    held = next((one.bytes for one in processes if one.pid == pid), None)
    return replace(sample, tree_pss=held, tree_rss=None)


def by_sight(sample: DeviceRecord, visible: dict[str, str]) -> DeviceRecord | None:
    """The sample under the name that a rank's own torch gives the device; `None` for a GPU that it does not see.

    `visible` is UUID -> `cuda:N` as that torch told. Empty: it has told nothing yet, and the name stays a guess.
    """
    if sample.uuid is None or not visible:
        return sample
    names = {_bare(uuid): name for uuid, name in visible.items()}
    name = names.get(_bare(sample.uuid))
    return None if name is None else replace(sample, device=name)


def merged(sights: list[dict[str, str]]) -> dict[str, str]:
    """What all ranks see, UUID -> name, for records that are no rank's. The lower rank's name wins; a name that is
    taken by another GPU (each rank's own is its `cuda:0`, perhaps) is given once."""
    found: dict[str, str] = {}
    for sight in sights:
        for uuid, name in sight.items():
            if _bare(uuid) not in map(_bare, found) and name not in found.values():
                found[uuid] = name
    return found


def _bare(uuid: str) -> str:
    return uuid.removeprefix("GPU-").removeprefix("MIG-")
