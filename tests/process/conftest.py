"""A place of its own for each test with real children."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.process.failing import Place


@pytest.fixture
def place() -> Iterator[Place]:
    """Nothing that was started here is left when the test is over."""
    temp = Path(tempfile.mkdtemp(prefix="mt"))
    # pytest-xdist gives its workers COLUMNS and LINES: they would go over the size of a test's own terminal.
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    env = {**kept, "TMPDIR": str(temp), "XDG_RUNTIME_DIR": str(temp)}
    yield (made := Place(temp, env))
    for process in (*made.started, *made.targets()):
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            process.kill()
    shutil.rmtree(temp, ignore_errors=True)
