"""What goes in: pictures out of half-blocks, and a tab that goes from sample to sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from memtop.model.batch import BatchSample
from memtop.model.batch_text import on_the_way
from memtop.model.layers import shown, tree, whole
from memtop.tui.draw import depth
from memtop.tui.draw.cells import row_width
from memtop.tui.draw.goes_in import Shown, tab
from memtop.tui.draw.modules import Tree
from memtop.tui.draw.pixels import fitted, half_blocks
from memtop.tui.draw.sheet import Sight
from memtop.tui.palettes import PALETTES
from memtop.tui.view import View

from .batch_fakes import colour, fed, gray, table, tensor, text
from .conftest import AppMaker
from .deep_fakes import cnn_look, deep_cnn
from .test_deep_screen import news, tab_text

DARK = next(palette for palette in PALETTES.values() if palette.dark)
BATCHES: list[Callable[[], BatchSample]] = [colour, gray, text, table]


def drawn(batch: BatchSample, width: int = 118, height: int = 36, view: View | None = None, **changes: Any) -> str:
    facts = {"number": 0, "frozen": False, "newest": batch.step} | changes
    rows = tab(Shown(sample=batch, **facts), width, height, view or View(palette=DARK))
    return "\n".join("".join(segment.text for segment in row) for row in rows)


# -- half-blocks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("picture", "room", "expected"),
    [
        ((28, 28), (60, 40), (56, 56)),
        ((28, 28), (60, 14), (28, 28)),
        ((28, 28), (60, 13), (26, 26)),
        ((64, 32), (32, 40), (32, 16)),
        ((1, 64), (10, 4), (1, 8)),
        ((28, 28), (0, 9), (0, 0)),
    ],
)
def test_a_picture_keeps_its_shape(picture: tuple[int, int], room: tuple[int, int], expected: tuple[int, int]) -> None:
    assert fitted(*picture, *room) == expected


def test_two_pixels_a_cell_upper_as_ink_and_lower_as_ground() -> None:
    pixels = bytes([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 8, 7])
    (row,) = half_blocks(pixels, 2, 2, 3, 2, 1, letters=False, dark=True)
    first, second = row
    assert (first.text, second.text) == ("▀", "▀")
    assert first.style is not None
    assert second.style is not None
    colours = [one.get_truecolor() for one in (first.style.color, first.style.bgcolor, second.style.bgcolor) if one]
    assert [tuple(one) for one in colours] == [(255, 0, 0), (0, 0, 255), (9, 8, 7)]


def test_an_odd_last_line_has_no_ground() -> None:
    rows = half_blocks(bytes([1, 2, 3]), 1, 3, 1, 1, 2, letters=False, dark=True)
    assert len(rows) == 2
    style = rows[1][0].style
    assert style is not None
    assert style.bgcolor is None


def test_without_colours_brightness_is_a_character() -> None:
    pixels = bytes([0, 255, 0, 255])
    assert half_blocks(pixels, 2, 2, 1, 2, 1, letters=True, dark=True)[0][0].text == " @"
    assert half_blocks(pixels, 2, 2, 1, 2, 1, letters=True, dark=False)[0][0].text == "@ "


@pytest.mark.parametrize("size", [(28, 28), (3, 64), (64, 3), (1, 1), (32, 31)])
def test_rows_have_the_fitted_width(size: tuple[int, int]) -> None:
    for room in ((40, 12), (1, 1), (200, 60)):
        across, down = fitted(*size, *room)
        for letters in (True, False):
            rows = half_blocks(bytes(size[0] * size[1]), *size, 1, *room, letters=letters, dark=True)
            assert len(rows) == -(-down // 2) <= room[1]
            assert {row_width(row) for row in rows} <= {across}


# -- what is told ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", BATCHES)
def test_any_size_is_filled_exactly_and_not_beyond(batch: Callable[[], BatchSample]) -> None:
    for view in (View(palette=DARK), View(ascii_only=True)):
        for width in (1, 8, 20, 38, 78, 118, 198):
            for height in (1, 2, 5, 21, 36, 57):
                facts = Shown(sample=batch(), number=0, frozen=True, newest=9)
                rows = tab(facts, width, height, view)
                assert len(rows) <= height
                assert all(row_width(row) == width for row in rows)


def test_a_picture_in_colour_and_what_becomes_of_it() -> None:
    words = drawn(colour())
    assert "(64, 3, 32, 32) = (N, C, H, W): colour" in words
    assert "label 3" in words
    loaded, _, entered = colour().tensors
    assert on_the_way(loaded, entered) == (
        "on the way to the model: uint8 becomes float32, cpu becomes cuda:0, 0 to 255 becomes −2.1 to 2.4"
    )
    assert "on the way to the model: uint8 becomes" in words
    assert "3.00 KiB a sample × 64 = 192 KiB" in words


def test_channels_last_are_told() -> None:
    words = drawn(gray())
    assert "(16, 28, 28, 1) = (N, H, W, C): grayscale" in words
    assert "torch's convolutions take (N, C, H, W)" in words
    assert "what reaches the model was not seen" in words


def test_ids_and_their_targets() -> None:
    words = drawn(text(), number=1)
    assert "sequences of 256 ids, 0 to 66, 54 different in 2,048" in words
    assert "7 20 33" in words
    assert "20 33 46" in words
    assert "…" in words


def test_a_table_by_columns_and_an_unknown_is_a_dash() -> None:
    lines = drawn(table(), number=1).splitlines()
    assert [line.split()[1:] for line in lines if line.startswith(("0     ", "2     "))][-2:] == [
        ["4.3", "5.843", "7.9", "4.9"], ["—", "—", "—", "—"],
    ]  # fmt: skip
    assert "150 of 600 values are NaN or infinite" in drawn(table())


def test_figures_of_a_part_say_so() -> None:
    part = replace(table(), tensors=[tensor("0", [5000, 4], kind="table", looked=16_384)])
    assert "figures of the first 16,384 of 20,000 values" in drawn(part)


# -- keys --------------------------------------------------------------------------------------------------------------


async def test_samples_go_round_and_a_held_batch_stays(make_app: AppMaker) -> None:
    app = make_app(fed(colour()))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("x", "5")
        await pilot.pause()
        assert "sample 1 of the first 4 · label 3" in tab_text(app)
        await pilot.press("n")
        assert "sample 2 of the first 4 · label 8" in tab_text(app)
        await pilot.press("p", "p")
        assert "sample 4 of the first 4 · label 0" in tab_text(app)
        await pilot.press("h")
        await news(app, pilot, fed(replace(gray(), step=90)))
        assert "held, the newest is of step 90" in tab_text(app)
        assert "colour" in tab_text(app)
        await pilot.press("h")
        assert "sample 1 of the first 1" in tab_text(app)
        assert "grayscale" in tab_text(app)


# -- what it is made of ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folded", [frozenset(), frozenset({"block1"}), frozenset({""})])
def test_bars_in_sight_add_up_to_the_model(folded: frozenset[str | None]) -> None:
    look = cnn_look()
    assert look.modules is not None
    layers = tree(look.modules.rows)
    shown_tree = Tree(
        layers=layers, visible=shown(layers, "model", folded), sight=Sight(), order="model", folded=folded,
        wanted="", peak=sum(row.at_peak for row in look.modules.rows),
    )  # fmt: skip
    pairs = [depth._pair(shown_tree, layers[index]) for index in shown_tree.visible]
    total = whole(layers)
    assert total is not None
    assert [sum(column) for column in zip(*pairs, strict=True)] == [total.activations, total.parameters]
    for width in (20, 40, 78, 118, 198):
        rows = depth.tab(shown_tree, width, 30, View(palette=DARK))
        assert {row_width(row) for row in rows if row} == {width}


@pytest.mark.parametrize(
    ("value", "expected"), [(0, "    "), (1, "▏   "), (50, "██  "), (69, "██▊ "), (100, "████")]
)  # fmt: skip
def test_a_bar_is_exact_to_an_eighth_and_what_is_there_shows(value: int, expected: str) -> None:
    assert depth._bar(value, 100, 4) == expected


async def test_a_key_draws_the_modules(make_app: AppMaker) -> None:
    app = make_app(deep_cnn())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("x", "2", "b")
        await pilot.pause()
        assert "█" in tab_text(app)
        await pilot.press("b")
        await pilot.pause()
        assert "held bytes" in tab_text(app)


async def test_a_look_without_a_batch_says_why(make_app: AppMaker) -> None:
    app = make_app(deep_cnn())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("x", "5", "n", "h")
        await pilot.pause()
        assert "no batch was seen" in tab_text(app)
