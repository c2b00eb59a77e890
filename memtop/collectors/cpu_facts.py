"""What the CPU is: model, generation, topology, caches, instructions. Sources: `/proc/cpuinfo`, `/sys`, archspec."""

from __future__ import annotations

import os
import platform
import sys
from typing import Final

from memtop.collectors.files import Files, cpu_list, kilobytes
from memtop.model.specs import NumaNode

_CPU: Final = "sys/devices/system/cpu"

_X86: Final = ("avx", "avx2", "fma", "f16c", "avx_vnni", "amx_tile", "amx_bf16", "amx_int8", "amx_fp16")
_ARM: Final = ("asimd", "asimdhp", "asimddp", "sve", "sve2", "sme", "bf16", "i8mm", "svebf16", "svei8mm")

_NEWER: Final = ("avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8", "amx_fp16", "sve", "sve2", "bf16")
"""What a generation brings: a CPU that has one of these and whose archspec target has not is a newer generation."""

_ARM_PARTS: Final = {
    ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd40"): "Neoverse-V1",
    ("0x41", "0xd49"): "Neoverse-N2",
    ("0x41", "0xd4f"): "Neoverse-V2",
}
"""Models by (implementer, part) of the main ID register, for servers: ARM's `/proc/cpuinfo` has no model name."""

_ARM_VENDORS: Final = {
    "0x41": "ARM",
    "0x43": "Cavium",
    "0x46": "Fujitsu",
    "0x48": "HiSilicon",
    "0x4e": "NVIDIA",
    "0x51": "Qualcomm",
    "0x61": "Apple",
    "0xc0": "Ampere",
}


def cpuinfo(files: Files) -> dict[str, str]:
    """The first CPU's block of `/proc/cpuinfo`."""
    facts: dict[str, str] = {}
    for line in (files.text("proc/cpuinfo", 1 << 12) or "").splitlines():
        key, separator, value = line.partition(":")
        if not separator and facts:
            break
        facts[key.strip()] = value.strip()
    return facts


def vendor(facts: dict[str, str]) -> str | None:
    """`GenuineIntel`, `AuthenticAMD`, `ARM`, ..."""
    return facts.get("vendor_id") or _ARM_VENDORS.get(facts.get("CPU implementer", ""))


def model(facts: dict[str, str]) -> str | None:
    """The CPU's name as it calls itself; of ARM servers by the ID register."""
    named = facts.get("model name") or facts.get("cpu model") or facts.get("cpu")
    return named or _ARM_PARTS.get((facts.get("CPU implementer", ""), facts.get("CPU part", "")))


def features(facts: dict[str, str]) -> tuple[str, ...]:
    """Instruction sets that matter for training, as the kernel names them, the oldest first."""
    flags = set((facts.get("flags") or facts.get("Features") or "").split())
    known = [flag for flag in (*_X86[:5], *_ARM) if flag in flags]
    wide = sorted((flag for flag in flags if flag.startswith("avx512")), key=lambda flag: (flag != "avx512f", flag))
    tiles = [flag for flag in _X86[5:] if flag in flags]
    return (*known, *wide, *tiles)


def microarchitecture(has: tuple[str, ...]) -> str | None:
    """The generation by archspec, `zen3`; `icelake or newer` where the CPU has what archspec's nearest target lacks.

    Costs about 10 ms, for archspec's import. `None` outside Linux, where archspec would start a process.
    """
    if not sys.platform.startswith("linux"):
        return None
    try:
        import archspec.cpu

        host = archspec.cpu.host()
        name, target = str(host.name), archspec.cpu.TARGETS.get(host.name)
        newer = target is not None and any(flag in has and flag not in target.features for flag in _NEWER)
    except Exception:  # a cpuinfo it has not met, its data files missing: no fact is worth the start
        return None
    if name == platform.machine():  # nothing but the instruction set's name
        return None
    return f"{name} or newer" if newer else name


def online(files: Files) -> frozenset[int]:
    """The logical CPUs that are online."""
    listed = cpu_list(files.word(f"{_CPU}/online"))
    return listed or frozenset(files.numbered(_CPU, "cpu"))


def affinity() -> frozenset[int]:
    """The logical CPUs that this process may run on; empty where the system can't tell."""
    try:
        return frozenset(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return frozenset()


def _groups(files: Files, cpus: frozenset[int], name: str) -> int | None:
    """How many distinct lists `topology/NAME` there are: each tells who shares a core or a socket."""
    left, count = set(cpus), 0
    while left:
        first = min(left)
        shared = cpu_list(files.word(f"{_CPU}/cpu{first}/topology/{name}"))
        if not shared:
            return None
        left -= shared | {first}
        count += 1
    return count or None


def cores(files: Files, cpus: frozenset[int]) -> int | None:
    """Physical cores."""
    return _groups(files, cpus, "thread_siblings_list")


def sockets(files: Files, cpus: frozenset[int]) -> int | None:
    """CPU packages."""
    return _groups(files, cpus, "core_siblings_list")


def caches(files: Files, cpus: frozenset[int]) -> dict[str, int]:
    """Bytes by level over the whole host. A cache that several CPUs share is counted once."""
    total: dict[str, int] = {}
    covered: dict[int, set[int]] = {}
    indices = files.numbered(f"{_CPU}/cpu{min(cpus, default=0)}/cache", "index")
    for cpu in sorted(cpus):
        for index in indices:
            if cpu not in covered.setdefault(index, set()):
                _count(files, f"{_CPU}/cpu{cpu}/cache/index{index}", covered[index], total)
    return dict(sorted(total.items()))


def _count(files: Files, folder: str, covered: set[int], total: dict[str, int]) -> None:
    """Add one cache to `total`, and its CPUs to `covered`."""
    level, size = files.word(f"{folder}/level"), _size(files.word(f"{folder}/size"))
    kind = {"Data": "d", "Instruction": "i"}.get(files.word(f"{folder}/type") or "", "")
    if level is None or size is None:
        return
    covered.update(cpu_list(files.word(f"{folder}/shared_cpu_list")))
    total[f"L{level}{kind}"] = total.get(f"L{level}{kind}", 0) + size


def _size(text: str | None) -> int | None:
    """`48K`, `32M` as the kernel writes cache sizes; in units of 1024."""
    factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:] if text else "", 1)
    digits = (text or "").rstrip("KMG")
    return int(digits) * factor if digits.isdecimal() else None


def frequency_max(files: Files) -> float | None:
    """The highest clock of any CPU, MHz; `None` where the kernel does not scale it (most virtual machines)."""
    policies = files.numbered(f"{_CPU}/cpufreq", "policy")
    clocks = (files.number(f"{_CPU}/cpufreq/policy{number}/cpuinfo_max_freq") for number in policies)
    known = [clock for clock in clocks if clock]
    return max(known) / 1000 if known else None


def numa(files: Files) -> tuple[NumaNode, ...]:
    """NUMA nodes with their CPUs and memory."""
    base = "sys/devices/system/node"
    return tuple(
        NumaNode(node=node, cpus=files.word(f"{base}/node{node}/cpulist") or "", memory=_node_memory(files, base, node))
        for node in files.numbered(base, "node")
    )


def _node_memory(files: Files, base: str, node: int) -> int | None:
    """Each line of a node's meminfo starts with `Node N`."""
    text = files.text(f"{base}/node{node}/meminfo")
    return kilobytes(text.replace(f"Node {node} ", ""), "MemTotal") if text else None
