"""The lesson on screen: beside the figures where there is room, on a screen of its own where there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from memtop.launcher import manifests
from memtop.model.lessons import Run
from memtop.model.records import Record
from memtop.tui.app import MemtopApp
from memtop.tui.draw.lesson import lesson_panel, lesson_rows
from memtop.tui.lessons import Taught
from memtop.tui.scenarios import Manifests
from memtop.tui.screens.lesson import LessonScreen
from memtop.tui.teacher import Teacher
from memtop.tui.view import View
from memtop.tui.widgets.lesson_panel import LessonPanel
from tests.unit.test_lessons import begin, memory

from .conftest import AppMaker
from .fakes import cnn
from .test_draw_sizes import text_of


def runs(*activations: int) -> list[Record]:
    """Runs of cnn in which the batch doubled each time."""
    found: list[Record] = []
    for index, size in enumerate(activations):
        settings = manifests.resolve(manifests.load("cnn"), {"batch_size": 64 * 2**index})
        found.append(begin(**settings))
        found.append(memory(2, "forward_end", size))
    return found


def taught(*activations: int) -> Taught:
    teacher = Teacher(None)
    for record in runs(*activations):
        teacher.take(record)
    return teacher.taught(cnn(), Manifests().lesson("cnn"))


def words(found: Taught, width: int = 100) -> str:
    return "\n".join(text_of(row) for row in lesson_rows(found, width, View()))


def with_records(app: MemtopApp, records: list[Record]) -> MemtopApp:
    for record in records:
        app._teacher.take(record)
    return app


def test_before_anything_is_measured_the_lesson_says_what_to_do() -> None:
    text = words(taught())
    assert "1 ○ Wait for the second step" in text
    assert "→ Activations are 88 × the weights" in text
    assert "2 ○ Press + for twice the batch." in text
    assert "What a layer keeps has an entry" not in text
    assert "Few weights, large activations" in text


def test_a_step_done_shows_its_figures_and_why() -> None:
    text = words(taught(92_694_118, 185_388_236))
    assert "1 ✔ Wait for the second step" in text
    assert "2 ✔ Press + for twice the batch." in text
    assert "✔ Twice the batch: twice the activations" in text
    assert "activations from 88.4 MiB to 177 MiB: 2.00 ×" in text
    assert "What a layer keeps has an entry for each sample." in text
    assert "You doubled the batch (64 → 128)." in text


def test_what_came_out_otherwise_is_marked_and_said() -> None:
    text = words(taught(92_694_118, 92_694_118))
    assert "2 ✖ Press + for twice the batch." in text
    assert "1.00 ×; 2 × were expected, 177 MiB" in text


def test_a_command_has_no_lesson() -> None:
    assert "memtop --scenario NAME" in words(Taught(lesson=None))


def test_another_scenarios_runs_are_not_compared() -> None:
    teacher = Teacher(None)
    for record in runs(1, 2):
        teacher.take(record)
    assert teacher.taught(cnn(title="mlp-cifar"), Manifests().lesson("mlp-cifar")).before is None
    assert isinstance(teacher.taught(cnn(), Manifests().lesson("cnn")).before, Run)


@pytest.mark.parametrize("width", [46, 60])
@pytest.mark.parametrize("height", [12, 39])
def test_the_panel_has_its_size(width: int, height: int) -> None:
    from rich.cells import cell_len

    rows = lesson_panel(taught(92_694_118, 185_388_236), width, height, View())
    assert [cell_len(text_of(row)) for row in rows] == [width] * height


async def test_where_there_is_room_it_opens_beside_the_figures_and_closes(make_app: AppMaker) -> None:
    app = make_app(cnn())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("L")
        await pilot.pause()
        panel = app.screen.query_one(LessonPanel)
        assert "Lesson" in panel.render_line(0).text
        with_records(app, runs(92_694_118, 185_388_236))
        app.urge()
        await pilot.pause()
        assert "doubled the batch" in "".join(panel.render_line(y).text for y in range(panel.size.height))
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert not panel.display
        await pilot.resize_terminal(120, 40)
        await pilot.pause()
        assert panel.display
        await pilot.press("L")
        await pilot.pause()
        assert not app.screen.query(LessonPanel)


async def test_where_there_is_none_it_is_a_screen_whose_keys_train(make_app: AppMaker) -> None:
    app = make_app(cnn())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("L")
        await pilot.pause()
        assert isinstance(app.screen, LessonScreen)
        await pilot.press("plus", "o", "c")
        asked = [call for call in app.session.calls if call[0] == "restart"]  # type: ignore[attr-defined]
        assert asked == [("restart", None, {"batch_size": 128}), ("restart", None, {"optimizer": "adamw"})]
        await pilot.press("escape")
        assert not isinstance(app.screen, LessonScreen)


def test_a_teacher_listens_to_the_session() -> None:
    takers: list[Callable[[Record], None]] = []
    teacher = Teacher(takers.append)
    for record in runs(5):
        takers[0](record)
    found = teacher.taught(cnn(), Manifests().lesson("cnn"))
    assert found.after is not None
    assert found.after.read("activations", "forward_end") == 5


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_the_lesson_looks_like_this(snap_compare: Any, make_app: AppMaker, size: tuple[int, int]) -> None:
    app = with_records(make_app(cnn()), runs(92_694_118, 185_388_236))
    assert snap_compare(app, terminal_size=size, press=["L"])
