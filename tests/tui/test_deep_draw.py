"""The tabs as rows: exact widths, sums that are the peak's, sorting, searching, only what is in sight is drawn."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len

from memtop.model.layers import ORDERS, shown, tree
from memtop.model.snapshot import DeepLook, TensorGroup, Tracked
from memtop.model.units import UNITS
from memtop.tui.draw import lines, modules, step, tracked
from memtop.tui.draw.board import board
from memtop.tui.draw.cells import Row, flow, put
from memtop.tui.draw.details import details
from memtop.tui.draw.sheet import Sight
from memtop.tui.draw.trace import around
from memtop.tui.palettes import MONO, PALETTES
from memtop.tui.view import MOMENTS, View

from .deep_fakes import MARKS, PEAK, cnn_look, deep_cnn, deep_stack, stack_look, tracked_cnn

SIZES = [(78, 21), (118, 37), (198, 57), (20, 3), (20, 1), (5, 2)]
BAD = "训练 [red]x[/] \x1b[31m\x1b]0;t\x07 \u202eabc 🧨\n\ttwo" + "长" * 60
views = st.builds(
    View, palette=st.sampled_from([MONO, *PALETTES.values()]), unit=st.sampled_from(UNITS), ascii_only=st.booleans()
)


def text_of(row: Row) -> str:
    return "".join(segment.text for segment in row)


def texts(rows: list[Row]) -> list[str]:
    return [text_of(row) for row in rows]


def hostile_look() -> DeepLook:
    """Every string as bad as a target can make it."""
    look = cnn_look()
    assert look.modules is not None
    assert look.lines is not None
    assert look.trace is not None
    where = dict.fromkeys(("phase", "module", "operator", "line", "text"), BAD) | {"seconds": 0.003}
    rows = [replace(row, path=BAD if row.path else row.path, type=BAD) for row in look.modules.rows]
    told = [
        replace(row, file=BAD, text=BAD, function=BAD, phase=BAD,
                tensors=[replace(one, dtype=BAD, category=BAD, operator=BAD, module=BAD) for one in row.tensors])
        for row in look.lines.rows
    ]  # fmt: skip
    return replace(
        look,
        peak=replace(look.peak, where=where),
        modules=replace(look.modules, rows=rows),
        lines=replace(look.lines, rows=told),
        trace=replace(look.trace, marks=[replace(mark, name=BAD) for mark in look.trace.marks]),
    )


LOOKS = {"cnn": cnn_look(), "stack": stack_look(), "hostile": hostile_look()}


def step_rows(look: DeepLook, width: int, height: int, view: View, at: int = 9, zoom: int = 1) -> list[Row]:
    assert look.trace is not None
    window = around(look.trace, look.trace.times[at], zoom)
    return step.tab(look, look.trace, step.Reading(window=window, at=at), width, height, view)


def modules_rows(
    look: DeepLook, width: int, height: int, view: View, order: str = "model", wanted: str = ""
) -> list[Row]:
    assert look.modules is not None
    layers = tree(look.modules.rows)
    return modules.tab(
        modules.Tree(
            layers=layers, visible=shown(layers, order, frozenset(), wanted), sight=Sight(), order=order,
            folded=frozenset(), wanted=wanted, peak=sum(row.at_peak for row in look.modules.rows),
        ),
        width, height, view,
    )  # fmt: skip


def lines_rows(
    look: DeepLook, width: int, height: int, view: View, order: str = "at peak", opened: frozenset[int] = frozenset()
) -> list[Row]:
    assert look.lines is not None
    rows = look.lines.rows
    return lines.tab(
        lines.Listing(
            rows=rows, visible=lines.shown(rows, order, opened, ""), sight=Sight(), order=order, opened=opened,
            wanted="", peak=sum(row.at_peak for row in rows),
        ),
        width, height, view,
    )  # fmt: skip


def tracked_rows(marks: tuple[Tracked, ...], width: int, height: int, view: View) -> list[Row]:
    shown_marks = tracked.Marks(marks=marks, visible=tracked.entries(marks), sight=Sight())
    return tracked.tab(shown_marks, width, height, view)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("size", SIZES)
def test_every_row_of_every_tab_has_the_width(look: str, size: tuple[int, int]) -> None:
    deep, (width, height) = LOOKS[look], size
    every = frozenset(range(9))
    bad = TensorGroup(shape=(3,), dtype=BAD, kind=BAD, device=BAD, count=2, bytes=24)
    marks = (*MARKS, Tracked(t=3.0, place=BAD, label=BAD, gained=(bad,), lost=(bad,), total=9))
    for view in (View(), View(palette=PALETTES["dark"], unit="B")):
        for rows in (
            step_rows(deep, width, height, view),
            step_rows(deep, width, height, view, zoom=8),
            modules_rows(deep, width, height, view),
            lines_rows(deep, width, height, view, opened=every),
            tracked_rows(marks, width, height, view),
        ):
            assert len(rows) <= height
            assert {cell_len(text) for text in texts(rows)} <= {width}
            assert not any(re.search("[\x00-\x1f\x7f\u202e]", text) for text in texts(rows))


@settings(max_examples=60, deadline=None)
@given(width=st.integers(8, 230), height=st.integers(1, 60), view=views, zoom=st.sampled_from([1, 2, 64]))
def test_the_step_fits_any_size(width: int, height: int, view: View, zoom: int) -> None:
    rows = step_rows(LOOKS["cnn"], width, height, view, zoom=zoom)
    assert len(rows) == height
    assert {cell_len(text) for text in texts(rows)} == {width}


@pytest.mark.parametrize("make", [deep_cnn, deep_stack, tracked_cnn])
@settings(max_examples=25, deadline=None)
@given(
    width=st.integers(20, 230), height=st.integers(5, 70), view=views, moment=st.sampled_from(MOMENTS),
    plain=st.booleans(),
)  # fmt: skip
def test_the_main_screen_fits_with_a_deep_look(
    make: object, width: int, height: int, view: View, moment: str, plain: bool
) -> None:
    snapshot = make()  # type: ignore[operator]
    view = replace(view, moment=moment, plain=plain)
    for look in (snapshot.deep, LOOKS["hostile"]):
        rows = board(replace(snapshot, deep=look), width, height, view)
        assert len(rows) == height
        assert {cell_len(text) for text in texts(rows)} == {width}
        assert {cell_len(text) for text in texts(details(replace(snapshot, deep=look), width, view))} == {width}


# -- step -------------------------------------------------------------------------------------------------------------


def test_the_peak_is_said_with_its_place() -> None:
    text = " ".join(texts(step_rows(LOOKS["cnn"], 118, 30, View()))[:2])
    for words in ("peak 43.1 MiB at 6.94 ms", "backward", "block3.pool", "train.py:57 loss.backward()"):
        assert words in text


def test_the_cursor_reads_every_category_and_their_sum() -> None:
    trace = LOOKS["cnn"].trace
    assert trace is not None
    text = "\n".join(texts(step_rows(LOOKS["cnn"], 118, 30, View(unit="B"), at=trace.peak)))
    assert f"{PEAK:,} B" in text
    assert "100.0 % of the peak" in text
    for name, value in zip(trace.columns, trace.points[trace.peak], strict=True):
        if value:
            assert f"{value:,} B" in text, name


def test_without_colour_the_graph_is_letters_and_the_phases_are_named() -> None:
    rows = texts(step_rows(LOOKS["stack"], 160, 30, View()))
    assert any("OOOO" in row for row in rows)
    band = next(row for row in rows if "forward" in row and "r" in row and "│" in row)
    assert band.count("rr") >= 8, "the recomputations are seen between the stretches of backward"


@pytest.mark.parametrize("width", [40, 78, 120, 198])
def test_the_highest_column_reaches_the_top(width: int) -> None:
    """Whatever the width, one column of the graph is as high as the scale."""
    rows = texts(step_rows(LOOKS["cnn"], width, 30, View()))
    top = next(row for row in rows if "MiB┤" in row)
    assert re.search("[A-Z]", top.split("┤")[1])


# -- modules ----------------------------------------------------------------------------------------------------------


def test_all_modules_are_the_peak() -> None:
    rows = texts(modules_rows(LOOKS["cnn"], 198, 30, View(unit="B")))
    total = next(row for row in rows if row.startswith("Σ"))
    assert "= peak" in total
    assert f"{PEAK:,} B" in total
    assert "100.0 %" in total


def test_modules_that_are_not_the_peak_are_said_to_be_wrong() -> None:
    look = LOOKS["cnn"]
    assert look.modules is not None
    layers = tree(look.modules.rows[:-1])
    shown_tree = modules.Tree(
        layers=layers, visible=range(len(layers)), sight=Sight(), order="model", folded=frozenset(), wanted="",
        peak=PEAK,
    )  # fmt: skip
    assert any("≠ peak" in row for row in texts(modules.tab(shown_tree, 120, 30, View())))


def test_columns_go_where_there_is_no_room_but_never_the_peak() -> None:
    narrow, wide = (texts(modules_rows(LOOKS["cnn"], width, 20, View()))[0] for width in (50, 198))
    assert "at peak" in narrow
    assert "output" not in narrow
    for title in ("type", "output", "parameters", "held bytes", "activations", "at peak", "share", "flops"):
        assert title in wide


@pytest.mark.parametrize("order", ORDERS)
def test_the_sorted_column_is_marked(order: str) -> None:
    head = texts(modules_rows(LOOKS["cnn"], 198, 20, View(), order=order))[0]
    assert ("module ▾" if order == "model" else f"{order} ▾") in head
    assert head.count("▾") == 1


def test_a_search_without_a_hit_says_so() -> None:
    assert any("nothing has 'zzz'" in row for row in texts(modules_rows(LOOKS["cnn"], 80, 20, View(), wanted="zzz")))


def test_of_a_thousand_modules_only_those_in_sight_are_drawn() -> None:
    look = LOOKS["stack"]
    assert look.modules is not None
    layers = tree(look.modules.rows)
    asked: list[int] = []

    class Watched(list[int]):
        def __getitem__(self, index: int) -> int:  # type: ignore[override]
            asked.append(index)
            return super().__getitem__(index)

    visible = Watched(shown(layers, "model", frozenset()))
    sight = Sight().moved(700, len(visible), modules.rows_in_sight(24))
    shown_tree = modules.Tree(
        layers=layers, visible=visible, sight=sight, order="model", folded=frozenset(), wanted="", peak=1
    )
    rows = texts(modules.tab(shown_tree, 120, 24, View()))
    assert len(set(asked)) == modules.rows_in_sight(24)
    assert any(row.startswith("▸       698") or " 698 " in row for row in rows)


# -- lines ------------------------------------------------------------------------------------------------------------


def test_all_lines_are_the_peak() -> None:
    total = texts(lines_rows(LOOKS["cnn"], 198, 20, View(unit="B")))[-1]
    assert f"{PEAK:,} B" in total
    assert "= the peak" in total


def test_lines_sort_by_peak_born_and_count() -> None:
    look = LOOKS["cnn"].lines
    assert look is not None
    for order, key in (("at peak", "at_peak"), ("born", "born"), ("count", "count")):
        found = [getattr(look.rows[index], key) for index, _ in lines.shown(look.rows, order, frozenset(), "")]
        assert found == sorted(found, reverse=True)
        assert len(found) == len(look.rows)


def test_from_a_line_to_its_tensors() -> None:
    rows = texts(lines_rows(LOOKS["cnn"], 160, 30, View(), opened=frozenset({0})))
    assert "cnn.py:31" in rows[1]
    assert "(64, 32, 32, 32) · float32 · activations · aten.convolution · block1.conv" in rows[2]
    assert any("(128,) × 2" in row for row in rows)


def test_lines_are_found_by_file_text_and_function() -> None:
    look = LOOKS["cnn"].lines
    assert look is not None
    for wanted, expected in (("CNN.py", 1), ("backward()", 1), ("forward", 1), ("before the step", 1), ("zzz", 0)):
        assert len(lines.shown(look.rows, "at peak", frozenset(), wanted)) == expected, wanted


# -- tracked ----------------------------------------------------------------------------------------------------------


def test_marks_tell_what_came_and_what_went() -> None:
    text = "\n".join(texts(tracked_rows(MARKS, 118, 30, View(unit="B"))))
    assert re.search(r"\+ +7 × \(512, 512, 3, 3\) +66,060,288 B", text)
    assert re.search(r"− +1 × \(40, 3, 512, 512\) +125,829,120 B", text)
    assert "train.py:12 · model" in text


def test_without_marks_it_says_how_to_get_them() -> None:
    assert "memtop.track()" in " ".join(texts(tracked_rows((), 78, 20, View())))


# -- pieces -----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 200), st.integers(1, 50), st.integers(-5, 250), st.integers(0, 199))
def test_the_mark_is_always_in_sight(count: int, height: int, to: int, top: int) -> None:
    sight = Sight(cursor=0, top=top).moved(to, count, height)
    assert sight.top >= 0
    if count:
        assert 0 <= sight.cursor < count
        assert sight.top <= sight.cursor < sight.top + height
        assert sight.top <= max(0, count - height)


def test_put_replaces_cells_and_no_others() -> None:
    from rich.segment import Segment

    row = [Segment("abc"), Segment("def")]
    for column in range(6):
        text = text_of(put(row, column, "X", None))
        assert text == "abcdef"[:column] + "X" + "abcdef"[column + 1 :]
    assert text_of(put(row, 2, "XY", None)) == "abXYef"


def test_flow_breaks_between_parts() -> None:
    from rich.segment import Segment

    parts = [[Segment("aaaa")], [Segment("bbbb")], [Segment("cccc")]]
    assert texts(flow(parts, 9, 3, Segment(" "))) == ["aaaa bbbb", "cccc"]
    assert texts(flow(parts, 9, 1, Segment(" "))) == ["aaaa bbbb"]
    assert texts(flow([], 9, 1, Segment(" "))) == [""]
