"""Checks of the machine and of this installation: what a run leans on outside torch."""

from __future__ import annotations

import os
import platform
import socket
import stat
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import memtop
from memtop.doctor.report import Finding, error, ok, warning
from memtop.model import units

_NEEDED: Final = {
    "archspec": "archspec",
    "click": "click",
    "msgspec": "msgspec",
    "psutil": "psutil",
    "pynvml": "nvidia-ml-py",
    "textual": "textual",
}
"""Distributions by the module they bring."""

_SOCKET_PATH: Final = 107 if sys.platform.startswith("linux") else 103
"""Bytes that fit into a Unix socket's address, the final zero taken off."""

_SOCKET_NAME: Final = len("/memtop-12345678/probe.sock")
"""What a run adds to the folder for temporary files."""

_FIRST_PID_NAMESPACE: Final = "pid:[4026531836]"
"""The inode number of the host's own: PROC_PID_INIT_INO of the kernel's proc_ns.h."""

MNIST: Final = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
"""The files that a scenario on MNIST reads."""
CIFAR: Final = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
"""The files that a scenario on CIFAR-10 reads."""
_ARCHIVE: Final = "cifar-10-binary.tar.gz"
_FOLDERS: Final = ("", "MNIST/raw", "cifar-10-batches-bin")
"""Where below the data folder they may be."""


def installation() -> Finding:
    """memtop's version and whether everything that it needs is installed."""
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec

    missing = [name for module, name in _NEEDED.items() if find_spec(module) is None]
    if missing:
        return error(f"memtop {memtop.__version__}, without {', '.join(missing)}", f"pip install {' '.join(missing)}")
    versions = []
    for name in _NEEDED.values():
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:  # vendored by a packager: it is there, its version is not
            versions.append(name)
    return ok(f"{memtop.__version__} with {', '.join(versions)}")


def runtime_folder(env: Mapping[str, str]) -> Path:
    """Where sockets go: `$XDG_RUNTIME_DIR` where it can be written, else the folder for temporary files."""
    chosen = env.get("XDG_RUNTIME_DIR")
    if chosen and os.access(chosen, os.W_OK | os.X_OK):
        return Path(chosen)
    return Path(tempfile.gettempdir())


def sockets(folder: Path) -> Finding:
    """Whether a Unix socket can be made and reached where a run would put its own."""
    length = len(os.fsencode(folder)) + _SOCKET_NAME
    if length > _SOCKET_PATH:
        message = f"the path of a socket in {folder} would have {length} bytes, {_SOCKET_PATH} are possible"
        return error(message, "set TMPDIR to a folder with a short path")
    try:
        with tempfile.TemporaryDirectory(prefix="memtop-", dir=folder) as own:
            _meet(f"{own}/s")
            mode = stat.S_IMODE(os.stat(own).st_mode)  # noqa: PTH116
    except OSError as failure:
        message = f"no Unix socket can be made in {folder}: {failure.strerror or failure}"
        return error(message, "set TMPDIR to a folder on a local disk that you may write to")
    if mode & 0o077:
        return warning(f"others may enter folders made in {folder}", "set TMPDIR to a folder that keeps modes")
    return ok(f"a Unix socket works in {folder}")


def _meet(path: str) -> None:
    """Listen at `path`, connect to it, and close both."""
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.settimeout(2)
        client.settimeout(2)
        server.bind(path)
        server.listen(1)
        client.connect(path)


def permissions(root: Path = Path("/")) -> Finding:
    """What of other processes can be read."""
    if platform.system() != "Linux":
        return warning("shared memory of processes is told apart on Linux only: RSS is shown", None)
    try:
        (root / "proc/self/smaps_rollup").read_bytes()
    except OSError as failure:
        message = f"/proc/self/smaps_rollup can't be read ({failure.strerror}): shared memory counts for each process"
        return warning(message, "Linux 4.14 or newer has it; a sandbox may hide it")
    if not (root / "proc/1").exists():
        return warning("/proc hides other users' processes", "their memory is shown as one figure, without names")
    namespace = _link(root / "proc/self/ns/pid")
    if namespace not in (None, _FIRST_PID_NAMESPACE):
        message = "memory of processes can be read; this container hides those outside it"
        return warning(message, "start the container with --pid=host to tell a GPU's processes apart by name")
    return ok("memory of processes can be read; no container hides any")


def _link(path: Path) -> str | None:
    try:
        return os.readlink(path)  # noqa: PTH115
    except OSError:
        return None


def control_group(root: Path = Path("/")) -> Finding:
    """The memory limit that ends a training before RAM does."""
    from memtop.collectors.cgroup import Cgroup
    from memtop.collectors.files import Files, kilobytes

    files = Files(root)
    ram = kilobytes(files.text("proc/meminfo") or "", "MemTotal")
    if ram is None:
        return ok("control groups are a matter of Linux")
    limit = Cgroup(files).memory(ram)
    if limit is None:
        return ok(f"no memory limit below RAM ({units.size(ram)})")
    message = f"memory is limited to {units.size(limit.limit)} of {units.size(ram)} RAM, {units.size(limit.free)} free"
    if limit.free is not None and limit.free < limit.limit // 10:
        return warning(message, "raise the container's or the job's memory limit, or end what else runs in it")
    return ok(message)


def shared_memory(path: str = "/dev/shm") -> Finding:
    """Whether DataLoader workers have room: they hand batches over in `/dev/shm`."""
    if not sys.platform.startswith("linux"):
        return ok("DataLoader workers need no /dev/shm here")
    remedy = "give the container --shm-size=8g or --ipc=host, or train with num_workers=0"
    try:
        found = os.statvfs(path)
    except OSError as failure:
        return warning(f"{path}: {failure.strerror}; DataLoader workers can't hand over batches", remedy)
    total, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    message = f"{units.size(free)} of {units.size(total)} free in {path}"
    if total <= 1 << 26:
        return warning(f"{message}: DataLoader workers run out of it with ordinary batches", remedy)
    if free < 1 << 30:
        return warning(f"{message}: little for DataLoader workers with large batches", remedy)
    return ok(message)


def data_folder(data: str | None) -> Finding:
    """Which real data files are there, by name. A scenario checks what is in them."""
    if data is None:
        return ok("none given: scenarios train on synthetic images of the same shapes")
    folder = Path(data).expanduser()
    remedy = "give the folder that holds the MNIST IDX files or CIFAR-10's binary files, or add --download"
    if not folder.is_dir():
        return warning(f"{data} is not a folder", remedy)
    counts = {"MNIST": (_found(folder, MNIST), len(MNIST)), "CIFAR-10": (_found(folder, CIFAR), len(CIFAR))}
    text = ", ".join(f"{name} {found} of {of} files" for name, (found, of) in counts.items())
    whole = any(found == of for found, of in counts.values())
    archive = (folder / _ARCHIVE).is_file()
    text += f", {_ARCHIVE}" if archive else ""
    return ok(f"{data}: {text}") if whole or archive else warning(f"{data}: {text}", remedy)


def _found(folder: Path, names: tuple[str, ...]) -> int:
    """How many of the files are in the folder or a usual place below it, plain or compressed."""
    return sum(
        any((folder / sub / f"{name}{suffix}").is_file() for sub in _FOLDERS for suffix in ("", ".gz"))
        for name in names
    )
