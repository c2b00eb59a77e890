"""The scenarios' list where there is more of it than the screen has rows."""

from __future__ import annotations

from memtop.launcher import manifests
from memtop.tui.app import MemtopApp
from memtop.tui.scenarios import Manifests
from memtop.tui.screens.picker import ScenarioPicker
from memtop.tui.widgets.lines import Lines

from .fakes import FakeSession, mlp


def in_sight(lines: Lines) -> list[str]:
    return [lines.render_line(y).text for y in range(lines.scrollable_content_region.height)]


async def test_the_marked_scenario_and_its_lesson_are_in_sight() -> None:
    """All of them, one after another, on the smallest usual terminal."""
    app = MemtopApp(FakeSession(mlp()), scenarios=Manifests())  # type: ignore[arg-type]
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("s")
        await pilot.pause()
        await pilot.pause()  # drawn once its size is known
        seen = set()
        for _ in manifests.names():
            rows = [row.rstrip() for row in in_sight(app.screen.query_one(Lines))]
            (here,) = [index for index, row in enumerate(rows) if row.startswith("▸ ")]
            name = rows[here].split()[1]
            seen.add(name)
            words = " ".join(rows[here + 1 :]).split()
            lesson = manifests.load(name).lesson.split()
            assert words[: len(lesson)] == lesson
            await pilot.press("down")
            await pilot.pause()
        assert seen == set(manifests.names())


async def test_what_runs_is_marked_beside_the_scrollbar() -> None:
    app = MemtopApp(FakeSession(mlp()), scenarios=Manifests())  # type: ignore[arg-type]
    async with app.run_test(size=(80, 24)) as pilot:
        app.push_screen(ScenarioPicker(Manifests().offers(), "iris"))
        await pilot.pause()
        await pilot.pause()  # drawn once its size is known
        lines = app.screen.query_one(Lines)
        assert lines.max_scroll_y > 0
        (here,) = [row.rstrip() for row in in_sight(lines) if row.startswith("▸ ")]
        assert here.endswith(" runs now")
