"""With MEMTOP_FAKE_CUDA=1, a CUDA build of torch and no GPU, these tests run over the stand-in of `tests/fake_cuda`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest


def _wanted() -> bool:
    """Whether this process is to be run again over the stand-in."""
    asked = os.environ.get("MEMTOP_FAKE_CUDA") == "1" and "FAKE_CUDA_LEDGER" not in os.environ
    return asked and not any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg"))


def pytest_configure(config: pytest.Config) -> None:
    """The library has to be loaded before torch is: it takes a process of its own from its start."""
    if not _wanted() or hasattr(config, "workerinput"):
        return
    from tests.fake_cuda.builder import NotHere, create

    try:
        fake = create(Path(os.environ.get("TMPDIR", "/tmp")) / f"fake-cuda-device-{os.getpid()}")
    except NotHere:
        return  # The tests skip, as they do without a GPU.
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.stop_global_capturing()
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], fake.env())
