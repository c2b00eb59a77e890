"""The screens in Chinese: every row as wide as the screen, and nothing where a wide letter was cut in two."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from rich.cells import cell_len

from memtop.launcher import manifests
from memtop.model import i18n
from memtop.model.categories import ALL, MEANING
from memtop.model.whatif_look import told
from memtop.tui.draw import goes_in, whatif
from memtop.tui.draw.board import board
from memtop.tui.draw.cells import left, right, wrap
from memtop.tui.draw.details import details
from memtop.tui.draw.lesson import lesson_panel
from memtop.tui.draw.sheet import Sight
from memtop.tui.keys import FOOTER
from memtop.tui.palettes import MONO, PALETTES
from memtop.tui.trying import Entry
from memtop.tui.view import Key, View

from . import batch_fakes
from .conftest import AppMaker
from .deep_fakes import deep_cnn, tracked_cnn
from .fakes import STATES, cnn
from .test_draw_sizes import text_of
from .test_lesson import runs, taught, with_records
from .test_whatif import watched

SIZES = [(80, 24), (120, 40)]


@pytest.fixture(autouse=True)
def _chinese() -> Iterator[None]:
    i18n.use("zh")
    yield
    i18n.use("en")


def views() -> Iterator[View]:
    keys = tuple(Key(key=foot.keys, label=i18n._(foot.words), action="", last=foot.last) for foot in FOOTER)
    for palette in (MONO, PALETTES["dark"]):
        for moment in ("most", "peak", "highest"):
            yield View(palette=palette, moment=moment, keys=keys)
    yield View(notice=i18n._("log closed"), keys=keys, ascii_only=True)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("state", [*STATES, "deep"])
def test_every_row_is_as_wide_as_the_screen(state: str, size: tuple[int, int]) -> None:
    snapshot = deep_cnn() if state == "deep" else STATES[state]()
    for view in views():
        rows = board(snapshot, *size, view)
        assert [cell_len(text_of(row)) for row in rows] == [size[0]] * size[1]
        if view.ascii_only:
            assert all(text_of(row).isascii() for row in rows)
        assert {cell_len(text_of(row)) for row in details(snapshot, size[0], view)} == {size[0]}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("state", [*STATES, "deep"])
def test_borders_stand_in_one_column(state: str, size: tuple[int, int]) -> None:
    """A frame's right edge is the last cell of its row, whatever stands inside."""
    snapshot = deep_cnn() if state == "deep" else STATES[state]()
    for row in board(snapshot, *size, View(palette=PALETTES["dark"])):
        text = text_of(row)
        if text.startswith("│"):
            assert text.endswith(("│", "╮", "╯")), text


def test_every_letter_of_a_text_survives_its_wrapping() -> None:
    for name in manifests.names():
        text = i18n._(manifests.load(name).lesson)
        assert text != manifests.load(name).lesson
        for width in (9, 20, 42, 76):
            lines = wrap(text, width)
            assert all(cell_len(line) <= width for line in lines)
            assert "".join("".join(lines).split()) == "".join(text.split())
            assert not any(line[0] in "，。：；、！？）」”》" for line in lines if width > 9)


def test_the_categories_have_words_of_their_own() -> None:
    words = [i18n._(name.replace("_", " ")) for name in ALL]
    assert len(set(words)) == len(ALL)
    assert not any(word.isascii() for word in words)
    assert not any(i18n._(meaning).isascii() for meaning in MEANING.values())


@pytest.mark.parametrize("width", [46, 80])
def test_the_lesson_panel_has_its_size(width: int) -> None:
    rows = lesson_panel(taught(92_694_118, 185_388_236), width, 39, View())
    assert [cell_len(text_of(row)) for row in rows] == [width] * 39
    assert "批量翻倍" in "".join(text_of(row) for row in rows)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "press", [[], ["v"], ["s"], ["question_mark"], ["L"]], ids=lambda keys: "".join(keys) or "main"
)
def test_screens(snap_compare: Any, make_app: AppMaker, press: list[str], size: tuple[int, int]) -> None:
    app = with_records(make_app(cnn()), runs(92_694_118, 185_388_236))
    assert snap_compare(app, terminal_size=size, press=press)


@pytest.mark.parametrize("tab", ["1", "2", "3", "4"])
def test_inside_the_step(snap_compare: Any, make_app: AppMaker, tab: str) -> None:
    assert snap_compare(make_app(tracked_cnn()), terminal_size=(80, 24), press=["x", tab])


@pytest.mark.parametrize("size", SIZES)
def test_bars_by_depth(snap_compare: Any, make_app: AppMaker, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(deep_cnn()), terminal_size=size, press=["x", "2", "b"])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["colour", "table"])
def test_what_goes_in(snap_compare: Any, make_app: AppMaker, kind: str, size: tuple[int, int]) -> None:
    snapshot = batch_fakes.fed(getattr(batch_fakes, kind)())
    assert snap_compare(make_app(snapshot), terminal_size=size, press=["x", "5"])


@pytest.mark.parametrize("size", SIZES)
def test_what_if(snap_compare: Any, make_app: AppMaker, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(watched()), terminal_size=size, press=["f", "down"])


def test_every_line_of_what_if_is_told_in_words_of_its_own() -> None:
    base = told(watched())
    assert base is not None
    names = [i18n._(line.name) for line in base.lines]
    kept = {"SGD", "Adam", "AdamW", "bf16 autocast"}
    assert {name for name in names if name.isascii()} <= kept
    assert len(set(names)) == len(names)
    assert not any(line.rests_on.isascii() for line in base.lines)


@pytest.mark.parametrize("width", [78, 118, 198])
def test_columns_of_what_if_and_of_a_batch_stand_where_they_stand_in_english(width: int) -> None:
    base = told(watched())
    assert base is not None
    entries = [Entry(line=line, setting=None, measured=None, runs=line.now) for line in base.lines]
    sheet = whatif.Sheet(told=base, why=None, entries=entries, sight=Sight(cursor=3), scenario=True)
    batch = goes_in.Shown(sample=batch_fakes.colour(), number=0, frozen=True, newest=3)

    def places() -> list[list[int]]:
        rows = [*whatif.panel(sheet, width, 36, View())[1:13], *goes_in.tab(batch, width, 20, View())[1:4]]
        texts = [text_of(row) for row in rows]
        return [
            [cell_len(text[: found.start()]) for found in re.finditer(r"~ |\(64,|u?int\d|float\d", text)]
            for text in texts
        ]

    chinese = places()
    i18n.use("en")
    assert chinese == places()
    assert all(chinese)


def test_wide_letters_take_two_cells_where_text_is_padded() -> None:
    assert left("参数", 6) == "参数  "
    assert right("参数", 6) == "  参数"
    assert left("参数梯度", 6) == "参数 …"


def test_figures_stand_where_they_stand_in_english() -> None:
    def places() -> list[list[int]]:
        rows = [text_of(row) for row in board(deep_cnn(), 120, 40, View())]
        return [
            [cell_len(row[: found.start()]) for found in re.finditer(r"[\d.]+ (?:[KMG]i)?B ", row)]
            for row in rows[7:22]
        ]

    chinese = places()
    i18n.use("en")
    assert [found[:3] for found in chinese] == [found[:3] for found in places()]
    assert sum(map(len, chinese)) > 40
