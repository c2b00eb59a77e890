"""What a deep look adds to the main screen and to the details."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from memtop.model.snapshot import Theory
from memtop.tui.draw.board import board
from memtop.tui.draw.details import details
from memtop.tui.draw.reasons import why
from memtop.tui.view import View

from .deep_fakes import deep_cnn, deep_stack
from .test_deep_draw import texts

# -- the main screen --------------------------------------------------------------------------------------------------


def test_the_table_has_a_column_for_the_peak_where_there_is_room() -> None:
    snapshot = deep_cnn()
    wide, narrow = ("\n".join(texts(board(snapshot, width, 40, View(unit="auto")))) for width in (120, 96))
    assert "at peak" in wide
    assert "at peak" not in narrow
    temporaries = next(row for row in wide.splitlines() if "T temporaries" in row)
    assert "2.50 MiB" in temporaries
    assert "gradients of activations" in temporaries
    gradients = next(row for row in wide.splitlines() if "G gradients" in row)
    assert "80.0 KiB" in gradients
    assert "the peak comes before they" in gradients


def test_before_a_deep_look_there_is_no_such_column() -> None:
    text = "\n".join(texts(board(deep_cnn(deep=None, moments={}), 120, 40, View())))
    assert "at peak" not in text
    assert "Inside step" not in text


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
def test_the_peak_has_a_line_with_its_place_and_age(size: tuple[int, int]) -> None:
    text = texts(board(deep_cnn(), *size, View()))
    (line,) = [row for row in text if "peak 43.1 MiB in backward" in row]
    assert "block3.pool · train.py:57" in line
    assert "deep look 12 s ago" in line


@pytest.mark.parametrize("size", [(120, 40), (200, 60)])
def test_the_step_has_a_panel_of_its_own(size: tuple[int, int]) -> None:
    text = "\n".join(texts(board(deep_cnn(), *size, View())))
    assert "Inside step 2 12 s ago" in text
    assert "│backward" in text


def test_one_screen_as_text_stays_as_it_is_but_for_the_peaks_line() -> None:
    text = "\n".join(texts(board(deep_cnn(), 120, 42, View(plain=True))))
    before = "\n".join(texts(board(deep_cnn(deep=None, moments=_steady()), 120, 42, View(plain=True))))
    assert "peak 43.1 MiB in backward" in text
    changed = [new for new, old in zip(text.splitlines(), before.splitlines(), strict=True) if new != old]
    assert len(changed) == 1


def _steady() -> dict[str, object]:
    return {name: record for name, record in deep_cnn().moments.items() if name != "peak"}


def test_the_newest_figures_stay_in_front_though_the_peak_was_higher() -> None:
    text = texts(board(deep_cnn(), 120, 40, View()))
    assert any("forward end of step 840" in row for row in text)
    peak = texts(board(deep_cnn(), 120, 40, View(moment="peak")))
    assert any("peak of step 2 · 12 s ago" in row for row in peak)


def test_details_tell_theory_beside_fact_and_what_looking_took() -> None:
    snapshot = deep_cnn(announced_seconds=0.21, looks=2)
    text = "\n".join(texts(details(snapshot, 118, View())))
    assert re.search(r"at peak +81,960 B +−374,784 B  the peak comes before they are whole", text)
    assert re.search(r"at forward end +40,374,536 B +\+4 B  the loss is still there", text)
    assert re.search(r"temporaries at peak +2,621,440 B +gradients of activations", text)
    assert "announced looks ~0.21 s, 2 of them" in text
    assert "slowed by ~0.6 %" in text


# -- reasons ----------------------------------------------------------------------------------------------------------


def test_what_was_recomputed_is_told_from_the_modules() -> None:
    snapshot = deep_stack()
    deep = snapshot.deep
    assert deep is not None
    peak = replace(deep.peak, where={"phase": "recompute"}, bytes=deep.peak.bytes | {"activations": 40_000})
    snapshot = replace(snapshot, deep=replace(deep, peak=peak))
    assert why(snapshot, "activations", "peak", "B") == f"recomputed in backward: {1000 * 1280:,} B"


def test_parameter_tensors_are_counted_from_the_lines() -> None:
    snapshot = deep_cnn(theory={"optimizer_state": Theory(bytes=2 * 456_744, why="2 × parameters")})
    assert why(snapshot, "optimizer_state", "step_end", "auto") == "a 4-byte step for each of 14 tensors"
    assert why(replace(snapshot, deep=None), "optimizer_state", "step_end", "auto") is None
    assert why(snapshot, "temporaries", "step_end", "auto") is None, "unknown there"
