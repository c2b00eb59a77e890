"""Builds the fake NVML once and hands out machines that programs can be run against."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .describe import Machine

HERE = Path(__file__).resolve().parent
LIBRARY = "libnvidia-ml.so.1"
FLAGS = ("-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-pthread")


class NoCompiler(RuntimeError):
    """There is no C compiler, so nothing that rests on the fake NVML can be tested."""


def build(absent: Iterable[str] = ()) -> Path:
    """The folder that holds `libnvidia-ml.so.1`, with the functions in `absent` missing from its symbols.

    Built at most once for each set of sources and `absent`. Raises `NoCompiler`, or `CalledProcessError` with the
    compiler's words where the source does not compile.
    """
    hidden = [f"-D{name}=absent_{name}" for name in sorted(absent)]
    sources = [HERE / "nvml.c", HERE / "description.h", HERE.parent / "fake_cuda" / "ledger.h"]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources))
    digest.update(" ".join([*FLAGS, *hidden]).encode())
    folder = Path(tempfile.gettempdir()) / f"fake-nvml-{os.getuid()}" / digest.hexdigest()[:20]
    if not (folder / LIBRARY).exists():
        _compile(folder, hidden)
    return folder


def _compile(folder: Path, hidden: list[str]) -> None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise NoCompiler("the fake NVML needs a C compiler (gcc or cc); set MEMTOP_NO_CC=1 to skip what rests on it")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Built aside and renamed: parallel test workers may build at the same time.
    fresh = folder / f"{LIBRARY}.{os.getpid()}"
    command = [compiler, *FLAGS, *hidden, "-o", str(fresh), str(HERE / "nvml.c")]
    subprocess.run(command, check=True, capture_output=True, text=True)
    fresh.replace(folder / LIBRARY)


@dataclass(frozen=True)
class FakeNvml:
    """A library and the description that it reads."""

    library: Path
    description: Path

    def describe(self, machine: Machine | str) -> None:
        """Make the machine so, from the next NVML call on."""
        text = machine if isinstance(machine, str) else machine.text()
        fresh = self.description.with_name(self.description.name + ".new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(self.description)

    def env(self, base: dict[str, str] | None = None) -> dict[str, str]:
        """The environment in which a child process finds this NVML."""
        env = dict(os.environ if base is None else base)
        older = env.get("LD_LIBRARY_PATH")
        env["LD_LIBRARY_PATH"] = f"{self.library.parent}:{older}" if older else str(self.library.parent)
        env["FAKE_NVML"] = str(self.description)
        return env


def create(folder: Path, machine: Machine, absent: Iterable[str] = ()) -> FakeNvml:
    """A fake NVML whose description lies in `folder`."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(parents=True)
    fake = FakeNvml(library=build(absent) / LIBRARY, description=folder / "nvml.txt")
    fake.describe(machine)
    return fake
