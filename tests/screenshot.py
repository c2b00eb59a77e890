"""Remakes the README's picture from a real run: `python tests/screenshot.py [FILE]`. Needs torch; takes a minute."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from textual.pilot import Pilot

from memtop.launcher import manifests
from memtop.model.snapshot import Phase, Snapshot
from memtop.session import Options, Session
from memtop.tui.app import MemtopApp

SCENARIO = "cnn"
SECONDS = 27.0
"""Seconds of training in the picture's history."""
LIMIT = 120.0
"""Seconds after which it gives up."""
SIZE = (120, 40)
DEFAULT_PATH = Path(__file__).parents[1] / "assets" / "screenshot.svg"


class Anonymous(Session):
    """A session whose screen does not tell which machine it runs on."""

    def snapshot(self) -> Snapshot:
        """The newest of everything, but the machine's name and kernel."""
        seen = super().snapshot()
        host = None if seen.host is None else replace(seen.host, hostname="workstation", system="Linux")
        return replace(seen, host=host)


async def _watch(app: MemtopApp, path: Path) -> None:
    """Let it train for a while, then take the picture."""
    for _ in range(int(LIMIT / 0.25)):
        await asyncio.sleep(0.25)
        snapshot = app.session.snapshot()
        if snapshot.phase is Phase.ENDED:
            break
        if snapshot.now is not None and len(snapshot.series.get("tensors", ())) * snapshot.series_seconds >= SECONDS:
            _write(path, app.export_screenshot(title=f"memtop --scenario {SCENARIO}"))
            app.exit(0)
            return
    print(f"no picture: {app.session.snapshot().phase_text}", file=sys.stderr)
    app.exit(1)


def _write(path: Path, picture: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(picture, "utf-8")


def main() -> int:
    """Take the picture; 0 where there is one."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_PATH
    manifest = manifests.load(SCENARIO)
    session = Anonymous(Options(scenario=SCENARIO, settings=manifests.resolve(manifest, {"steps": 0})))
    app = MemtopApp(session)

    async def pilot(_: Pilot[object]) -> None:
        await _watch(app, path)

    try:
        return app.run(headless=True, size=SIZE, auto_pilot=pilot) or 0
    finally:
        session.close()


if __name__ == "__main__":
    sys.exit(main())
