"""Pytest fixtures over the fake NVML; `tests/conftest.py` imports them by name."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from .builder import FakeNvml, NoCompiler, create
from .describe import Machine


@pytest.fixture
def fake_nvml(tmp_path: Path) -> Callable[..., FakeNvml]:
    """`fake_nvml(machine, absent=())`: a machine that child processes see through `fake.env()`.

    Without a compiler this fails; it skips only where MEMTOP_NO_CC says that none is meant to be there.
    """

    def make(machine: Machine | None = None, absent: Iterable[str] = ()) -> FakeNvml:
        try:
            return create(tmp_path / "fake_nvml", machine or Machine(), absent)
        except NoCompiler:
            if os.environ.get("MEMTOP_NO_CC"):
                pytest.skip("no C compiler, and MEMTOP_NO_CC is set")
            raise

    return make


@dataclass(frozen=True)
class LoadedNvml:
    """A fake NVML that this process's own pynvml calls."""

    fake: FakeNvml
    handle: ctypes.CDLL

    def describe(self, machine: Machine) -> None:
        """Make the machine so, from the next NVML call on."""
        self.fake.describe(machine)

    def calls(self, function: str) -> int:
        """How often the C function was called since `loaded_nvml` was called."""
        count = self.handle.fake_nvml_calls
        count.argtypes, count.restype = [ctypes.c_char_p], ctypes.c_uint
        return int(count(function.encode()))


@pytest.fixture
def loaded_nvml(fake_nvml: Callable[..., FakeNvml], monkeypatch: pytest.MonkeyPatch) -> Callable[..., LoadedNvml]:
    """`loaded_nvml(machine, absent=())`: pynvml in this very process answers from the description.

    pynvml loads the driver's library by name once; here it is handed ours, and its own is put back afterwards.
    """
    import pynvml  # type: ignore[import-untyped, unused-ignore]

    def load(machine: Machine | None = None, absent: Iterable[str] = ()) -> LoadedNvml:
        fake = fake_nvml(machine, absent)
        handle = ctypes.CDLL(str(fake.library))
        handle.fake_nvml_reset()
        monkeypatch.setenv("FAKE_NVML", str(fake.description))
        monkeypatch.setattr(pynvml, "nvmlLib", handle)
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        return LoadedNvml(fake=fake, handle=handle)

    return load
