"""Keys of the tables of a deep look: folding, sorting, searching, the way from a line to its tensors."""

from __future__ import annotations

from textual.widgets import Input

from memtop.tui.app import MemtopApp
from memtop.tui.screens.deep import DeepScreen
from memtop.tui.screens.main import MainScreen
from memtop.tui.widgets.lines_tab import LinesTab
from memtop.tui.widgets.modules_tab import ModulesTab
from memtop.tui.widgets.tracked_tab import TrackedTab

from .conftest import AppMaker
from .deep_fakes import MARKS, cnn_look, deep_cnn, deep_stack
from .fakes import T
from .test_deep_screen import line_text, news, screen_of, tab_text

# -- modules ----------------------------------------------------------------------------------------------------------


def modules_tab(app: MemtopApp) -> ModulesTab:
    tab = screen_of(app).tab
    assert isinstance(tab, ModulesTab)
    return tab


async def test_modules_fold_and_unfold(make_app: AppMaker) -> None:
    app = make_app(deep_cnn())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("x", "2", "down")
        await pilot.pause()
        tab = modules_tab(app)
        every = tab.count
        assert tab._path() == "block1"
        for key in ("enter", "space"):
            await pilot.press(key)
            assert tab.count == every - (4 if key == "enter" else 0)
        await pilot.press("left")
        assert tab.count == every - 4
        assert "▸ block1" in tab_text(app)
        await pilot.press("left")
        assert tab._path() == "", "of what is folded, the one above"
        await pilot.press("a")
        assert tab.count == every, "all of it, where something was folded"
        await pilot.press("a")
        assert [tab._layers[index].row.path for index in tab._visible] == [
            "", "block1", "block2", "block3", "head", None,
        ]  # fmt: skip
        await pilot.press("a")
        assert tab.count == every


async def test_modules_are_sorted_by_the_key(make_app: AppMaker) -> None:
    app = make_app(deep_cnn())
    async with app.run_test(size=(160, 40)) as pilot:
        await pilot.press("x", "2")
        orders = []
        for _ in range(5):
            await pilot.press("s")
            await pilot.pause()
            orders.append(modules_tab(app).order)
            assert f"sorted by {orders[-1]}" in line_text(app, "tabs")
        assert orders == ["at peak", "activations", "parameters", "flops", "model"]


async def test_modules_are_found_while_one_types(make_app: AppMaker) -> None:
    app = make_app(deep_cnn())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("x", "2", "slash", *"conv")
        await pilot.pause()
        tab = modules_tab(app)
        assert [tab._layers[index].row.path for index in tab._visible] == [
            "", "block1", "block1.conv", "block2", "block2.conv", "block3", "block3.conv",
        ]  # fmt: skip
        assert tab._path() == "block1.conv"
        await pilot.press("enter", "down")
        assert app.focused is tab
        assert tab._path() == "block2"
        await pilot.press("escape")
        await pilot.pause()
        assert tab.wanted == ""
        assert tab._path() == "block2", "the mark stays"
        assert isinstance(app.screen, DeepScreen)
        await pilot.press("slash", "q", "escape")
        assert tab.wanted == ""
        assert not app.screen.query_one(Input).has_focus
        await pilot.press("escape")
        await pilot.pause()
        assert isinstance(app.screen, MainScreen)


async def test_a_thousand_modules_scroll(make_app: AppMaker) -> None:
    app = make_app(deep_stack())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("x", "2", "end")
        await pilot.pause()
        tab = modules_tab(app)
        assert tab.count == 1002
        assert "999" in tab_text(app)
        await pilot.press("pageup", "up", "k")
        assert tab.sight.cursor == 1001 - (tab.room - 1) - 2
        await pilot.press("home", "j", "pagedown")
        assert tab.sight.cursor == tab.room
        await pilot.resize_terminal(120, 12)
        await pilot.pause()
        assert tab.sight.top <= tab.sight.cursor < tab.sight.top + tab.room


async def test_a_newer_look_leaves_folds_order_and_mark(make_app: AppMaker) -> None:
    app = make_app(deep_cnn())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("x", "2", "s", "down", "enter")
        await pilot.pause()
        tab = modules_tab(app)
        path, count = tab._path(), tab.count
        await news(app, pilot, deep_cnn(deep=cnn_look(t=T - 1, step=900)))
        assert (tab._path(), tab.count, tab.order) == (path, count, "at peak")


# -- lines ------------------------------------------------------------------------------------------------------------


async def test_from_a_line_to_its_tensors_and_back(make_app: AppMaker) -> None:
    app = make_app(deep_cnn())
    async with app.run_test(size=(160, 40)) as pilot:
        await pilot.press("x", "3")
        await pilot.pause()
        tab = screen_of(app).tab
        assert isinstance(tab, LinesTab)
        before = tab.count
        await pilot.press("enter")
        await pilot.pause()
        assert tab.count == before + 15
        assert "(64, 32, 32, 32) · float32 · activations · aten.convolution · block1.conv" in tab_text(app)
        await pilot.press("down", "down", "space")
        assert tab.count == before, "a tensor closes its line"
        assert tab.sight.cursor == 0
        await pilot.press("a")
        assert tab.count > before + 15
        await pilot.press("a", "s")
        assert (tab.count, tab.order) == (before, "born")


async def test_lines_are_found_while_one_types(make_app: AppMaker) -> None:
    app = make_app(deep_cnn())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("x", "3", "slash", *"backw")
        await pilot.pause()
        tab = screen_of(app).tab
        assert isinstance(tab, LinesTab)
        assert tab.count == 1
        assert "loss.backward()" in tab_text(app)
        assert "esc shows all" in line_text(app, "tabs")


async def test_a_second_click_opens(make_app: AppMaker) -> None:
    app = make_app(deep_cnn())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("x", "3")
        await pilot.pause()
        tab = screen_of(app).tab
        assert isinstance(tab, LinesTab)
        before = tab.count
        await pilot.click(LinesTab, offset=(20, 2))
        assert tab.sight.cursor == 1
        await pilot.click(LinesTab, offset=(20, 2))
        assert tab.count > before


# -- tracked ----------------------------------------------------------------------------------------------------------


async def test_tracked_follows_the_newest_mark_until_one_goes_up(make_app: AppMaker) -> None:
    app = make_app(deep_cnn(tracked=MARKS[:1] * 12))
    async with app.run_test(size=(120, 20)) as pilot:
        await pilot.press("x", "4")
        await pilot.pause()
        tab = screen_of(app).tab
        assert isinstance(tab, TrackedTab)
        assert tab.sight.cursor == tab.count - 1
        await news(app, pilot, deep_cnn(tracked=MARKS[:1] * 12 + MARKS[2:]))
        assert tab.sight.cursor == tab.count - 1
        assert "freed" in tab_text(app)
        await pilot.press("home")
        await news(app, pilot, deep_cnn(tracked=MARKS[:1] * 12 + MARKS))
        assert tab.sight.cursor == 0
