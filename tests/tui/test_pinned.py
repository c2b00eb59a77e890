"""A pinned run beside the present one, and the keys of a replay."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from rich.cells import cell_len

from memtop.model.snapshot import Snapshot
from memtop.tui.draw.board import board
from memtop.tui.view import Pinned, View

from .conftest import AppMaker
from .fakes import STATES, mlp
from .test_keys import calls, main_of, text_of


def pinned_to(snapshot: Snapshot, **settings: object) -> View:
    record = snapshot.highest
    assert record is not None
    less = {**record.bytes, "parameters": (record.bytes["parameters"] or 0) // 2}
    told = {**snapshot.settings, **settings}
    return View(pinned=Pinned(title=snapshot.title, settings=told, record=replace(record, bytes=less)))  # type: ignore[arg-type]


def text(snapshot: Snapshot, width: int, height: int, view: View) -> list[str]:
    return ["".join(segment.text for segment in row) for row in board(snapshot, width, height, view)]


def test_the_table_says_what_changed_in_bytes_and_per_cent() -> None:
    shown = text(mlp(), 120, 40, pinned_to(mlp(), batch_size=32))
    row = next(line for line in shown if "P parameters" in line)
    assert "771 KiB" in row  # half of 1,578,536
    assert "+771 KiB" in row
    assert "+100.0 %" in row
    state = next(line for line in shown if "optimizer state" in line)
    assert " = " in state
    assert any("highest against batch size 32" in line for line in shown)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(("width", "height"), [(40, 10), (60, 20), (80, 24), (100, 30), (120, 40), (200, 60)])
def test_every_row_is_exactly_as_wide_as_the_screen(state: str, width: int, height: int) -> None:
    rows = text(STATES[state](), width, height, pinned_to(mlp()))
    assert len(rows) == height
    assert {cell_len(row) for row in rows} == {width}


async def test_a_key_pins_the_run_and_lets_it_go(make_app: AppMaker) -> None:
    app = make_app(mlp())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("P")
        await pilot.pause()
        assert app.view.pinned is not None
        assert app.view.pinned.record == mlp().highest
        assert "the same settings" in text_of(app)
        app.session.publish(mlp(settings={**mlp().settings, "batch_size": 128}))  # type: ignore[attr-defined]
        app.on_snapshot_ready()
        await pilot.pause()
        assert "highest against batch size 64" in text_of(app)
        await pilot.press("P")
        await pilot.pause()
        assert app.view.pinned is None
        assert "pinned" not in text_of(app).splitlines()[7]
        assert calls(app) == []


async def test_in_a_replay_only_what_can_work_does(make_app: AppMaker) -> None:
    live, played = mlp(), mlp(choices=(), replay=2.0)
    app = make_app(live)
    async with app.run_test(size=(160, 40)) as pilot:
        screen = main_of(app)
        assert screen.check_action("speed", (1,)) is None
        assert "speed" not in text_of(app)
        app.session.publish(played)  # type: ignore[attr-defined]
        app.on_snapshot_ready()
        await pilot.pause()
        assert screen.check_action("speed", (1,))
        for action in ("deep_look", "log", "scale_batch", "pick_scenario", "settings"):
            assert screen.check_action(action, (1,)) is None, action
        assert screen.check_action("pause", ())
        assert "( ) speed" in text_of(app)
        await pilot.press("d", "l", "plus")
        assert calls(app) == []
