"""Every screen at every size: rows of exact width, bars that add up, figures whole or not at all."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from memtop.model.units import UNITS
from memtop.tui.draw.board import board
from memtop.tui.draw.cells import Row
from memtop.tui.draw.details import details
from memtop.tui.draw.figures import SizeColumn, figures_of
from memtop.tui.draw.table import table
from memtop.tui.palettes import MONO, PALETTES
from memtop.tui.view import MOMENTS, Key, View

from .fakes import STATES, mlp

KEYS = (Key(key="s", label="scenario", action="x"), Key(key="q", label="quit", action="x", last=True))
palettes = st.sampled_from([MONO, *PALETTES.values()])
views = st.builds(
    View,
    palette=palettes,
    unit=st.sampled_from(UNITS),
    moment=st.sampled_from(MOMENTS),
    ascii_only=st.booleans(),
    keys=st.sampled_from([(), KEYS]),
    notice=st.sampled_from([None, "log: /tmp/训练/a.jsonl"]),
)


def text_of(row: Row) -> str:
    return "".join(segment.text for segment in row)


@pytest.mark.parametrize("state", STATES)
@settings(max_examples=40, deadline=None)
@given(width=st.integers(20, 250), height=st.integers(5, 70), view=views)
def test_every_row_has_the_screens_width(state: str, width: int, height: int, view: View) -> None:
    rows = board(STATES[state](), width, height, view)
    assert len(rows) == height
    assert {cell_len(text_of(row)) for row in rows} == {width}
    assert not any(re.search("[\x00-\x1f\x7f\u202e]", text_of(row)) for row in rows)
    if view.ascii_only:
        assert all(text_of(row).isascii() for row in rows)


@pytest.mark.parametrize("size", [(1, 1), (5, 2), (20, 5), (39, 9), (40, 10)])
def test_the_smallest_screens(size: tuple[int, int]) -> None:
    for state in STATES.values():
        rows = board(state(), *size, View())
        assert [cell_len(text_of(row)) for row in rows] == [size[0]] * size[1]


def test_smaller_than_forty_by_ten_is_a_bar_and_a_line() -> None:
    text = [text_of(row) for row in board(mlp(), 38, 6, View())]
    assert any(set(line.strip()) <= set("PBGOIATURuo·") and len(line.strip()) == 38 for line in text)
    assert any("mlp-cifar" in line for line in text)


@settings(max_examples=60, deadline=None)
@given(width=st.integers(60, 250), unit=st.sampled_from(UNITS))
def test_figures_of_the_table_are_never_cut(width: int, unit: str) -> None:
    """Each size on the screen is one that `units.size` wrote, ending in its unit."""
    rows = board(mlp(), width, 30, View(unit=unit))  # type: ignore[arg-type]
    table = [text_of(row) for row in rows if re.search(r"[PGO] (parameters|gradients|optimizer)", text_of(row))]
    assert len(table) == 3
    expected = {"auto": "1.51 MiB", "MiB": "1.51 MiB", "MB": "1.58 MB", "B": "1,578,536 B"}[unit]
    assert expected in table[0]
    assert "…" not in table[0][: 17 + 40]


@pytest.mark.parametrize("state", STATES)
@settings(max_examples=15, deadline=None)
@given(width=st.integers(20, 250), view=views)
def test_details_fit_any_width(state: str, width: int, view: View) -> None:
    assert {cell_len(text_of(row)) for row in details(STATES[state](), width, view)} == {width}


def test_the_same_snapshot_draws_the_same_rows() -> None:
    view = View(palette=PALETTES["dark"], keys=KEYS)
    assert board(mlp(), 120, 40, view) == board(mlp(), 120, 40, view)


def test_what_needs_action_is_the_first_line() -> None:
    first = text_of(board(STATES["out_of_memory"](), 120, 40, View())[0])
    assert first.startswith(" ✖ out of memory on cuda:0")
    assert "expandable_segments" in first + text_of(board(STATES["out_of_memory"](), 120, 40, View())[1])


def test_an_old_figure_shows_its_age() -> None:
    assert any("31 s ago" in text_of(row) for row in board(STATES["paused"](), 120, 40, View()))
    assert not any(" ago" in text_of(row) for row in board(mlp(), 120, 40, View()))


def test_unknown_is_a_dash_and_never_zero() -> None:
    rows = [text_of(row) for row in board(mlp(), 120, 40, View())]
    temporaries = next(row for row in rows if "T temporaries" in row)
    assert "—" in temporaries
    assert "0 B" not in temporaries


def test_without_colour_nothing_is_told_by_colour_alone() -> None:
    text = "\n".join(text_of(row) for row in board(mlp(), 120, 40, View(palette=MONO)))
    assert "PPPPPPPP" in text
    assert "GGGGGGGG" in text
    assert "OOOOOOOO" in text


@settings(max_examples=40, deadline=None)
@given(height=st.integers(2, 20), state=st.sampled_from(["mlp", "cnn", "two_gpus", "importing", "out_of_memory"]))
def test_a_short_table_still_adds_up(height: int, state: str) -> None:
    """The bytes on the rows (in unit B, without the sums) are those of the device."""
    snapshot = STATES[state]()
    figures = figures_of(snapshot, "now")
    rows = [text_of(row) for row in table(snapshot, figures, 100, height, View(unit="B"))]
    assert len(rows) <= height
    column = slice(17, 19 + SizeColumn("B", figures.total).width)
    shown = [row[column] for row in rows if not row.startswith("Σ") and row[column].rstrip().endswith(" B")]
    assert sum(int(text.strip()[:-2].replace(",", "")) for text in shown) == figures.total
