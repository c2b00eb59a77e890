"""A folder of ours in which a target's probe writes the storages of the steps that it looks at, for a plan."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final

from memtop.model.step_events import StepEvents, decode

VARIABLE: Final = "MEMTOP_EVENTS"
"""Names the folder in the target's environment. `probe/events.py` reads it."""


class EventsFolder:
    """Made when it is entered, only ours to read, and gone when it is left.

    Start a target with `environment` in its own, let it end after its second step (the first that is looked at), then
    `read`."""

    def __init__(self) -> None:
        self._path: Path | None = None

    def __enter__(self) -> EventsFolder:
        self._path = Path(tempfile.mkdtemp(prefix="memtop-events-"))  # mkdtemp makes it with mode 0700.
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)
            self._path = None

    @property
    def environment(self) -> dict[str, str]:
        """What the target's environment needs."""
        assert self._path is not None, "enter the folder first"
        return {VARIABLE: str(self._path)}

    def read(self) -> list[StepEvents]:
        """What was written, by rank, process, device and step. Raises `EventsError` for a file that is not a step's."""
        assert self._path is not None, "enter the folder first"
        found = [decode(path.read_bytes()) for path in self._path.glob("[!.]*.json")]
        return sorted(found, key=lambda one: (one.rank, one.pid, one.device, one.step))
