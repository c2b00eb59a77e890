"""`python -m tests.fake_cuda COMMAND...`: run a command over the stand-in for the CUDA runtime."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from tests.fake_cuda.builder import MIB, create


def main() -> None:
    """FAKE_CUDA_MEMORY_MIB, FAKE_CUDA_CONTEXT_MIB and FAKE_CUDA_CAPABILITY say what the device is like."""
    fake = create(
        Path(tempfile.mkdtemp(prefix="fake-cuda-")),
        memory=int(os.environ.get("FAKE_CUDA_MEMORY_MIB", "8192")) * MIB,
        capability=os.environ.get("FAKE_CUDA_CAPABILITY", "9.0"),
        context=int(os.environ.get("FAKE_CUDA_CONTEXT_MIB", "300")) * MIB,
    )
    os.execvpe(sys.argv[1], sys.argv[1:], fake.env())


if __name__ == "__main__":
    main()
