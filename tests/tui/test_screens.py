"""The output screen, the details, and what is drawn when."""

from __future__ import annotations

from msgspec.structs import replace
from textual.geometry import Region

from memtop.tui.draw.board import board
from memtop.tui.screens.details import DetailsScreen
from memtop.tui.screens.main import MainScreen
from memtop.tui.screens.output import OutputScreen
from memtop.tui.widgets.board import Board, changed_span
from memtop.tui.widgets.lines import Lines

from .conftest import AppMaker
from .fakes import T, mlp
from .test_keys import main_of


def rows_of(screen: OutputScreen | DetailsScreen) -> list[str]:
    """The scrolled rows as text."""
    return ["".join(segment.text for segment in row) for row in screen.query_one("#body", Lines)._rows]


async def test_output_follows_its_end_until_one_scrolls_up(make_app: AppMaker) -> None:
    app = make_app()
    app.session.lines = [f"line {n}" for n in range(300)]  # type: ignore[attr-defined]
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("e")
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, OutputScreen)
        body = screen.query_one("#body", Lines)
        await pilot.pause()
        assert body.at_end
        app.session.lines.append("the newest")  # type: ignore[attr-defined]
        app.urge()
        await pilot.pause()
        assert rows_of(screen)[-1] == "the newest"
        assert body.at_end
        await pilot.press("home")
        await pilot.pause()
        app.session.lines.append("later")  # type: ignore[attr-defined]
        app.urge()
        await pilot.pause()
        assert body.scroll_offset.y == 0
        await pilot.press("f")
        await pilot.pause()
        assert body.at_end
        await pilot.press("escape")
        assert isinstance(app.screen, MainScreen)


async def test_output_finds_words(make_app: AppMaker) -> None:
    app = make_app()
    lines = [f"line {n}" for n in range(300)]
    lines[100] = "ValueError: [bold]boom"
    app.session.lines = lines  # type: ignore[attr-defined]
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("e", "slash", *"boom", "enter")
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, OutputScreen)
        assert screen.query_one("#body", Lines).scroll_offset.y == 100
        assert rows_of(screen)[100] == "ValueError: [bold]boom", "markup is text"
        await pilot.press("slash", *"absent", "enter")
        assert "no line with" in (app.view.notice or "")


async def test_a_new_target_begins_a_new_output(make_app: AppMaker) -> None:
    app = make_app()
    app.session.lines = ["old"] * 50  # type: ignore[attr-defined]
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("e")
        await pilot.pause()
        app.session.lines = ["new"]  # type: ignore[attr-defined]
        app.urge()
        await pilot.pause()
        assert isinstance(app.screen, OutputScreen)
        assert rows_of(app.screen) == ["new"]


async def test_details_tell_meaning_formula_and_notes(make_app: AppMaker) -> None:
    snapshot = mlp()
    assert snapshot.now is not None
    app = make_app(replace(snapshot, now=replace(snapshot.now, notes=["a batch is a view of a larger tensor"])))
    async with app.run_test(size=(160, 60)) as pilot:
        await pilot.press("v")
        await pilot.pause()
        assert isinstance(app.screen, DetailsScreen)
        text = "\n".join(rows_of(app.screen))
        assert "394,634 × 4 B" in text
        assert "a batch is a view of a larger tensor" in text
        assert "zen4" in text
        assert "one hidden layer" in text


async def test_the_first_picture_has_real_figures_without_any_news(make_app: AppMaker) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)):
        lines = main_of(app).query_one(Board)
        assert "mlp-cifar" in lines.render_line(0).text


async def test_only_changed_lines_are_drawn_again(make_app: AppMaker, monkeypatch: object) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        widget = main_of(app).query_one(Board)
        asked: list[tuple[Region, ...]] = []
        plain = widget.refresh

        def refresh(*regions: Region, **options: bool) -> object:
            asked.append(regions)
            return plain(*regions, **options)

        widget.refresh = refresh  # type: ignore[method-assign,assignment]
        app.urge()
        await pilot.pause()
        assert asked == [], "nothing changed, nothing is drawn"
        step = app.session.now.step  # type: ignore[attr-defined]
        app.session.now = mlp(step=replace(step, loss=0.4111))  # type: ignore[attr-defined]
        app.urge()
        await pilot.pause()
        (regions,) = asked
        assert [region.y for region in regions] == [0]
        assert regions[0].width < 20


async def test_a_resize_is_another_layout_at_once(make_app: AppMaker) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        for size in ((80, 24), (200, 60), (20, 5), (38, 9), (120, 40)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            widget = main_of(app).query_one(Board)
            assert (widget.size.width, widget.size.height) == size
            expected = board(mlp(), *size, replace(app.view, keys=main_of(app)._footer()))
            drawn = [widget.render_line(y).text for y in range(size[1])]
            assert drawn == ["".join(segment.text for segment in row) for row in expected]


def test_changed_span_is_the_smallest_that_holds_the_change() -> None:
    old, new = (board(mlp(t=t), 120, 40, make_view())[0] for t in (T, T))
    assert changed_span(old, new, 120) == (0, 0)


def make_view() -> object:
    """A view with colours."""
    from memtop.tui.palettes import PALETTES
    from memtop.tui.view import View

    return View(palette=PALETTES["dark"])
