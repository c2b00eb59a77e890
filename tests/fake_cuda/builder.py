"""Builds the stand-in for the CUDA runtime, and the environment in which a CUDA build of torch runs over it.

What torch decides (each allocation, its size, order and stream, each error) is torch's own; memory is the host's,
copies are real, kernels do nothing. So sizes and counters mean what they say, and no value on the device does.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.fake_nvml import builder as nvml
from tests.fake_nvml.describe import Gpu, Machine

HERE = Path(__file__).resolve().parent
LIBRARY = "libcuda.so.1"
"""Its soname: what asks for the driver by this name finds it loaded already."""
FLAGS = ("-std=gnu11", "-Wall", "-Wextra", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-pthread")
UUID = "GPU-5a5a5a5a-0000-1111-2222-333333333333"
RESERVED = 512 * 2**20
"""What the driver keeps of the device for itself, beside what a process is told of."""
MIB = 2**20
_STANDS_IN = re.compile(r"(__)?cuda[A-Z_]\w*|cu[A-Z]\w*|cublas\w+|cudnn\w+")
_NOT = re.compile(r"cuFile\w+")
"""Left to the library itself."""
_REFUSED = re.compile(r"cudnn(?!Set|Destroy|BatchNormalization|Pooling)\w+")
"""What the sources do not define of cuDNN is refused, but for what has no answer besides its status."""


class NotHere(RuntimeError):
    """The stand-in can't be built: no CUDA build of torch, or no compiler."""


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    places = list(found.submodule_search_locations or []) if found is not None else []
    if not places:
        raise NotHere(f"there is no package {name}")
    return Path(places[0])


def torch_libraries() -> list[Path]:
    """The libraries of the installed torch that ask for CUDA. Raises `NotHere` for a build without it."""
    folder = _package("torch") / "lib"
    found = sorted(path for path in folder.glob("lib*.so") if path.name != "libtorch_nvshmem.so")
    if not (folder / "libtorch_cuda.so").exists():
        raise NotHere("the installed torch is no CUDA build")
    return found


def build() -> Path:
    """The folder that holds the library; built once for each torch and each state of the sources."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or shutil.which("nm") is None:
        raise NotHere("the stand-in for CUDA needs a C compiler (gcc or cc) and nm")
    libraries = torch_libraries()
    sources = sorted([*HERE.glob("*.c"), *HERE.glob("*.h")])
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources))
    digest.update(repr([(str(one), one.stat().st_size, one.stat().st_mtime_ns) for one in libraries]).encode())
    digest.update(" ".join(FLAGS).encode() + Path(__file__).read_bytes())
    folder = Path(tempfile.gettempdir()) / f"fake-cuda-{os.getuid()}" / digest.hexdigest()[:20]
    if not (folder / LIBRARY).exists():
        _compile(compiler, libraries, folder)
    return folder


def _compile(compiler: str, libraries: list[Path], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    rest = folder / f"rest.{os.getpid()}.c"
    defined = "".join(source.read_text() for source in HERE.glob("*.c"))
    # Whatever else torch imports is there and does nothing.
    names = [name for name in _imported(libraries) if not re.search(rf"\b{name}\(", defined) and not _NOT.match(name)]
    status = {name: 3000 if _REFUSED.match(name) else 0 for name in names}  # CUDNN_STATUS_NOT_SUPPORTED
    body = "".join(f"API long {name}(void) {{ trace(__func__); return {code}; }}\n" for name, code in status.items())
    rest.write_text(
        f'#include "{HERE / "device.h"}"\n#define API __attribute__((visibility("default")))\n{body}', encoding="utf-8"
    )
    headers = [_package("nvidia") / "cu13" / "include", _package("triton") / "backends" / "nvidia" / "include"]
    headers.append(_package("nvidia") / "cudnn" / "include")
    fresh = folder / f"{LIBRARY}.{os.getpid()}"
    command = [compiler, *FLAGS, f"-Wl,-soname,{LIBRARY}", *(f"-isystem{one}" for one in headers), "-o", str(fresh)]
    subprocess.run(
        [*command, *(str(one) for one in sorted(HERE.glob("*.c"))), str(rest), "-ldl"], check=True, text=True
    )
    rest.unlink()
    fresh.replace(folder / LIBRARY)


def _imported(libraries: list[Path]) -> list[str]:
    """The functions of CUDA that torch's libraries look for, and those of the driver that it asks for by name."""
    found = set()
    for library in libraries:
        told = subprocess.run(
            ["nm", "-D", "--undefined-only", str(library)], capture_output=True, text=True, check=True
        )
        found |= {line.split()[-1].partition("@")[0] for line in told.stdout.splitlines()}
    asked = next(library for library in libraries if library.name == "libc10_cuda.so").read_bytes()
    found |= {name.decode() for name in re.findall(rb"\0(cu[A-Z][A-Za-z0-9_]{3,})(?=\0)", asked)}
    return sorted(name for name in found if _STANDS_IN.fullmatch(name))


@dataclass(frozen=True, kw_only=True)
class FakeCuda:
    """One device that processes run over."""

    library: Path
    nvml: nvml.FakeNvml
    ledger: Path
    memory: int
    """Bytes that CUDA says the device has."""
    capability: str
    context: int
    """Bytes of each process's CUDA context."""

    def env(self, base: dict[str, str] | None = None) -> dict[str, str]:
        """The environment in which a child process has this device."""
        env = self.nvml.env(base)
        return env | {
            "LD_PRELOAD": str(self.library),
            "FAKE_CUDA_LEDGER": str(self.ledger),
            "FAKE_CUDA_MEMORY_MIB": str(self.memory // MIB),
            "FAKE_CUDA_CONTEXT_MIB": str(self.context // MIB),
            "FAKE_CUDA_CAPABILITY": self.capability,
        }


def create(folder: Path, memory: int = 8 * 2**30, capability: str = "9.0", context: int = 300 * MIB) -> FakeCuda:
    """A device whose description and ledger lie in `folder`. Raises `NotHere`."""
    folder.mkdir(parents=True, exist_ok=True)
    gpu = Gpu(
        name="Stand-in (no GPU)",
        uuid=UUID,
        memory_total=memory + RESERVED,
        memory_used=0,
        memory_reserved=RESERVED,
        compute_capability=capability,
        pci_bus_id="00000000:1B:00.0",
    )
    fake = nvml.create(folder / "nvml", Machine(gpus=(gpu,)))
    ledger = folder / "ledger"
    ledger.touch()
    library = build() / LIBRARY
    return FakeCuda(library=library, nvml=fake, ledger=ledger, memory=memory, capability=capability, context=context)
