"""Remakes the README's pictures from real runs: `python tests/screenshot.py [FOLDER]`. Needs torch and two minutes."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from msgspec.structs import replace
from textual.pilot import Pilot

from memtop.launcher import manifests
from memtop.model.snapshot import Phase, Snapshot
from memtop.session import Options, Session
from memtop.tui.app import MemtopApp

PICTURES = (
    ("screenshot.svg", "cnn", {}, 27.0, ""),
    ("step.svg", "deep-stack", {"checkpoint": "segments=8"}, 12.0, "x"),
)
"""File, scenario, its settings, seconds of training in the picture's history, and the key that leads to the screen."""
LIMIT = 120.0
"""Seconds after which it gives up."""
SIZE = (120, 40)
DEFAULT_FOLDER = Path(__file__).parents[1] / "assets"


class Anonymous(Session):
    """A session whose screen does not tell which machine it runs on."""

    def snapshot(self) -> Snapshot:
        """The newest of everything, but the machine's name and kernel."""
        seen = super().snapshot()
        host = None if seen.host is None else replace(seen.host, hostname="workstation", system="Linux")
        return replace(seen, host=host)


async def _watch(app: MemtopApp, pilot: Pilot[object], path: Path, seconds: float, key: str) -> None:
    """Let it train for a while, then take the picture."""
    for _ in range(int(LIMIT / 0.25)):
        await asyncio.sleep(0.25)
        snapshot = app.session.snapshot()
        if snapshot.phase is Phase.ENDED:
            break
        if snapshot.now is not None and len(snapshot.series.get("tensors", ())) * snapshot.series_seconds >= seconds:
            if key:
                await pilot.press(key)
                await asyncio.sleep(1.0)
            _write(path, app.export_screenshot(title=f"memtop --scenario {snapshot.title}"))
            app.exit(0)
            return
    print(f"no picture: {app.session.snapshot().phase_text}", file=sys.stderr)
    app.exit(1)


def _write(path: Path, picture: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(picture, "utf-8")


def take(path: Path, scenario: str, settings: dict[str, object], seconds: float, key: str) -> int:
    """One picture; 0 where there is one."""
    manifest = manifests.load(scenario)
    session = Anonymous(Options(scenario=scenario, settings=manifests.resolve(manifest, {"steps": 0} | settings)))
    app = MemtopApp(session)

    async def drive(pilot: Pilot[object]) -> None:
        await _watch(app, pilot, path, seconds, key)

    try:
        return app.run(headless=True, size=SIZE, auto_pilot=drive) or 0
    finally:
        session.close()


def main() -> int:
    """Take the pictures; 0 where all are there."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FOLDER
    return max(take(folder / name, *rest) for name, *rest in PICTURES)


if __name__ == "__main__":
    sys.exit(main())
