"""Keys of the deep look: asking for one, reading it, and what happens when a newer one comes."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from textual.pilot import Pilot

from memtop.model.snapshot import Phase, Snapshot
from memtop.tui.app import MemtopApp
from memtop.tui.draw.peak import WAITING
from memtop.tui.screens.deep import TABS, DeepScreen
from memtop.tui.screens.help import lines_of
from memtop.tui.screens.main import MainScreen
from memtop.tui.widgets.batch_tab import BatchTab
from memtop.tui.widgets.lines import Lines
from memtop.tui.widgets.lines_tab import LinesTab
from memtop.tui.widgets.modules_tab import ModulesTab
from memtop.tui.widgets.step_tab import StepTab
from memtop.tui.widgets.tab import Tab
from memtop.tui.widgets.tracked_tab import TrackedTab

from .batch_fakes import colour
from .conftest import AppMaker
from .deep_fakes import cnn_look, deep_cnn, deep_stack, tracked_cnn
from .fakes import T, importing, mlp
from .test_keys import calls, main_of, text_of


def screen_of(app: MemtopApp) -> DeepScreen:
    """The deep screen, which must be in sight."""
    assert isinstance(app.screen, DeepScreen)
    return app.screen


def tab_text(app: MemtopApp) -> str:
    """What the tab in sight shows."""
    tab = screen_of(app).tab
    return "\n".join(tab.render_line(y).text for y in range(tab.size.height))


def line_text(app: MemtopApp, name: str) -> str:
    """One of the lines around the tab."""
    return app.screen.query_one(f"#{name}", Lines).render_line(0).text


async def news(app: MemtopApp, pilot: Pilot[Any], snapshot: Snapshot) -> None:
    """The session has something newer."""
    app.session.now = snapshot  # type: ignore[attr-defined]
    app.urge()
    await pilot.pause()


def step_tab(app: MemtopApp) -> StepTab:
    tab = screen_of(app).tab
    assert isinstance(tab, StepTab)
    return tab


def at_of(app: MemtopApp) -> int:
    reading = step_tab(app).reading
    assert reading is not None
    return reading.at


# -- asking for one ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [["d"], ["x", "d"]])
async def test_d_asks_for_a_deep_look(make_app: AppMaker, keys: list[str]) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press(*keys)
        await pilot.pause()
        assert calls(app) == [("deep_look",)]
        assert "the next step is watched whole" in (app.view.notice or "")


async def test_d_is_dim_where_nothing_trains(make_app: AppMaker) -> None:
    app = make_app(importing())
    async with app.run_test(size=(120, 40)) as pilot:
        assert main_of(app).check_action("deep_look", ()) is None
        await pilot.press("d")
        await pilot.press("x")
        await pilot.pause()
        assert screen_of(app).check_action("deep_look", ()) is None
        await pilot.press("d")
        assert calls(app) == []


async def test_the_footer_has_both_keys(make_app: AppMaker) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)):
        last = text_of(app).splitlines()[39]
        assert "x inside" in last
        assert "d deep look" in last


# -- the five tabs ----------------------------------------------------------------------------------------------------


async def test_tabs_are_switched_by_number_by_tab_and_by_mouse(make_app: AppMaker) -> None:
    app = make_app(tracked_cnn())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("x")
        await pilot.pause()
        kinds = {"1": StepTab, "2": ModulesTab, "3": LinesTab, "4": TrackedTab, "5": BatchTab}
        for key, kind in kinds.items():
            await pilot.press(key)
            await pilot.pause()
            assert isinstance(screen_of(app).tab, kind)
            assert app.focused is screen_of(app).tab
        await pilot.press("tab")
        assert isinstance(screen_of(app).tab, StepTab)
        await pilot.press("shift+tab")
        assert isinstance(screen_of(app).tab, BatchTab)
        row = line_text(app, "tabs")
        await pilot.click("#tabs", offset=(row.index("Modules"), 0))
        await pilot.pause()
        assert isinstance(screen_of(app).tab, ModulesTab)
        await pilot.press("x")
        await pilot.pause()
        assert isinstance(app.screen, MainScreen)


@pytest.mark.parametrize("key", ["1", "2", "3"])
async def test_before_a_deep_look_a_tab_says_what_it_waits_for(make_app: AppMaker, key: str) -> None:
    app = make_app(mlp())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("x", key, "enter", "down", "right", "s", "end", "n", "plus")
        await pilot.pause()
        assert WAITING in tab_text(app)
        await news(app, pilot, deep_cnn())
        assert WAITING not in tab_text(app)
        assert "43.1 MiB" in tab_text(app)


async def test_the_head_tells_step_age_and_peak(make_app: AppMaker) -> None:
    app = make_app(deep_cnn())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("x")
        await pilot.pause()
        assert "step 2 · 12 s ago · peak 43.1 MiB in backward" in line_text(app, "head")
        await news(app, pilot, deep_cnn(t=T + 30))
        assert "42 s ago" in line_text(app, "head")


async def test_help_has_the_keys_of_the_tab_in_sight(make_app: AppMaker) -> None:
    app = make_app(deep_cnn())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("x")
        await pilot.pause()
        words = {line.words for line in lines_of(app.screen.active_bindings)}
        assert "Where the next phase begins" in words
        assert "Narrow the rows to some letters" not in words, "a picture can't be searched"
        await pilot.press("2")
        await pilot.pause()
        words = {line.words for line in lines_of(app.screen.active_bindings)}
        assert "Narrow the rows to some letters" in words
        assert "Where the next phase begins" not in words


def test_every_key_has_an_id_and_a_sentence() -> None:
    for owner in (DeepScreen, Tab, *(kind for _, kind in TABS)):
        bindings = owner._merged_bindings
        assert bindings is not None
        for binding in owner.__dict__.get("BINDINGS", []):
            assert binding.id, binding
            assert len(binding.tooltip) > 8, binding


# -- the step ---------------------------------------------------------------------------------------------------------


async def test_the_cursor_begins_at_the_peak_and_reads_what_it_stands_on(make_app: AppMaker) -> None:
    app = make_app(deep_cnn())
    trace = cnn_look().trace
    assert trace is not None
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("x")
        await pilot.pause()
        assert at_of(app) == trace.peak
        assert "100.0 % of the peak" in tab_text(app)
        await pilot.press("right")
        assert at_of(app) > trace.peak
        await pilot.press("left", "left")
        assert at_of(app) < trace.peak
        await pilot.press("home")
        assert at_of(app) == 0
        assert "0.00 ms  forward" in tab_text(app)
        await pilot.press("shift+right")
        assert at_of(app) >= 10
        await pilot.press("end")
        assert at_of(app) == len(trace.times) - 1
        await pilot.press("p")
        assert at_of(app) == trace.peak
        await pilot.press("home", "k")
        assert at_of(app) == trace.peak


async def test_n_goes_from_phase_to_phase(make_app: AppMaker) -> None:
    app = make_app(deep_cnn())
    trace = cnn_look().trace
    assert trace is not None
    begins = [mark.at for mark in trace.marks]
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("x", "home", "n")
        assert trace.times[at_of(app)] == begins[1]
        await pilot.press("n")
        assert trace.times[at_of(app)] == begins[2]
        await pilot.press("n")
        assert trace.times[at_of(app)] == begins[2], "there is none after the optimizer's"
        await pilot.press("N")
        assert trace.times[at_of(app)] == begins[1]


async def test_the_glass_enlarges_around_the_cursor(make_app: AppMaker) -> None:
    app = make_app(deep_stack())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("x", "home", *["right"] * 30)
        before = at_of(app)
        await pilot.press("plus", "plus", "plus")
        await pilot.pause()
        reading = step_tab(app).reading
        assert reading is not None
        assert reading.at == before
        assert "8× enlarged" in tab_text(app)
        await pilot.press("end")
        reading = step_tab(app).reading
        assert reading is not None
        assert reading.window.end >= step_tab(app)._trace.seconds * 0.999  # type: ignore[union-attr]
        await pilot.press("minus")
        await pilot.pause()
        assert "4× enlarged" in tab_text(app)
        await pilot.press("0")
        await pilot.pause()
        assert "enlarged" not in tab_text(app)


async def test_a_click_puts_the_cursor_there(make_app: AppMaker) -> None:
    app = make_app(deep_cnn())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("x", "end")
        await pilot.pause()
        await pilot.click(StepTab, offset=(12, 10))
        await pilot.pause()
        assert at_of(app) <= 1


async def test_of_a_newer_look_the_cursor_reads_the_same_time(make_app: AppMaker) -> None:
    app = make_app(deep_cnn())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("x", "home", *["right"] * 12)
        await pilot.pause()
        trace = step_tab(app)._trace
        assert trace is not None
        time = trace.times[at_of(app)]
        newer = cnn_look(t=T - 1, step=900)
        assert newer.trace is not None
        points, times = newer.trace.points[5:], newer.trace.times[5:]
        newer = replace(newer, trace=replace(newer.trace, points=points, times=times, peak=newer.trace.peak - 5))
        await news(app, pilot, deep_cnn(deep=newer))
        assert "step 900" in line_text(app, "head")
        assert step_tab(app)._trace is newer.trace
        assert times[at_of(app)] == time


@pytest.mark.parametrize("broken", [{"peak": 9999}, {"times": [0.0]}, {"points": [[1]]}, {"columns": ["activations"]}])
async def test_a_trace_that_is_none_is_not_drawn(make_app: AppMaker, broken: dict[str, Any]) -> None:
    look = cnn_look()
    assert look.trace is not None
    app = make_app(deep_cnn(deep=replace(look, trace=replace(look.trace, **broken))))
    async with app.run_test(size=(120, 40)) as pilot:
        assert "Inside step" not in text_of(app)
        await pilot.press("x", "right", "plus")
        await pilot.pause()
        assert WAITING in tab_text(app)


# -- what is drawn when -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["1", "2", "3", "4", "5"])
async def test_nothing_is_drawn_again_that_did_not_change(make_app: AppMaker, key: str, monkeypatch: Any) -> None:
    app = make_app(replace(tracked_cnn(), batch=colour()))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("x", key)
        await pilot.pause()
        tab = screen_of(app).tab
        drawn: list[int] = []
        monkeypatch.setattr(tab, "draw", lambda *_: drawn.append(1) or [])
        await news(app, pilot, replace(app.session.now, t=T + 5))  # type: ignore[attr-defined]
        assert drawn == []
        await pilot.press("u")
        await pilot.pause()
        assert drawn


@pytest.mark.parametrize("key", ["1", "2", "3", "4", "5"])
async def test_every_tab_takes_any_size(make_app: AppMaker, key: str) -> None:
    app = make_app(replace(tracked_cnn(), batch=colour()))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("x", key)
        for size in ((80, 24), (200, 60), (20, 5), (38, 9), (8, 2), (120, 40)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            tab = screen_of(app).tab
            for y in range(tab.size.height):
                assert tab.render_line(y).cell_length == tab.size.width


async def test_the_end_of_a_training_leaves_the_look(make_app: AppMaker) -> None:
    app = make_app(deep_cnn())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("x")
        await pilot.pause()
        await news(app, pilot, deep_cnn(phase=Phase.ENDED))
        assert "43.1 MiB" in tab_text(app)
        await pilot.press("d")
        assert calls(app) == []
