"""A fake `/`: the few kernel files that a test writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

GIB = 1 << 30

MEMINFO = """\
MemTotal:       16777216 kB
MemFree:         1048576 kB
MemAvailable:    8388608 kB
SwapTotal:       2097152 kB
SwapFree:        1572864 kB
"""

MOUNT_V2 = "31 23 0:28 {shown} {point} rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
MOUNT_V1 = "35 31 0:32 {shown} {point} rw,relatime - cgroup cgroup rw,{controllers}\n"


def write(root: Path, files: Mapping[str, str | int]) -> Path:
    """Write each file below `root`, its folders too."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(content))
    return root


def process(pid: int, parent: int, rss_kb: int | None = 1000, *, pin: int = 0, lock: int = 0) -> dict[str, str]:
    """The files of one process; `rss_kb` None is a zombie."""
    memory = "" if rss_kb is None else f"VmLck:\t{lock} kB\nVmPin:\t{pin} kB\nVmRSS:\t{rss_kb} kB\n"
    return {
        f"proc/{pid}/stat": f"{pid} (we) (ird) S {parent} 1 1 0 -1",
        f"proc/{pid}/status": f"Name:\tweird\nPPid:\t{parent}\n{memory}",
        f"proc/{pid}/smaps_rollup": f"00-ff ---p 00000000 00:00 0 [rollup]\nRss: {rss_kb or 0} kB\n"
        + ("" if rss_kb is None else f"Pss:   {rss_kb // 2} kB\nPss_Dirty: 1 kB\n"),
    }
