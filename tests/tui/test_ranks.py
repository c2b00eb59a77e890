"""The strip of ranks, and the keys that choose one."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from rich.cells import cell_len

from memtop.tui.app import MemtopApp
from memtop.tui.draw.board import board
from memtop.tui.draw.ranks import strip as drawn
from memtop.tui.view import View

from .conftest import AppMaker, FakeScenarios
from .fakes import mlp
from .ranks_fakes import RankedSession, ranked, strip

SIZES = [(80, 24), (120, 40), (200, 60), (60, 15)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [2, 4, 8, 64, 1000])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_rows_are_exact(count: int, size: tuple[int, int], ascii_only: bool) -> None:
    rows = board(ranked(count), *size, View(ascii_only=ascii_only))
    assert len(rows) == size[1]
    for row in rows:
        text = "".join(segment.text for segment in row)
        assert cell_len(text) == size[0]
        assert text.isascii() or not ascii_only


def lines(count: int, width: int, most: int, **changes: Any) -> list[str]:
    shown = replace(ranked(count).ranks or strip(2), **changes)
    return ["".join(segment.text for segment in row).rstrip() for row in drawn(shown, width, most, View())]


def test_what_is_said_first() -> None:
    first = lines(8, 200, 3)[0]
    assert "8 ranks · showing rank 0 · ◆ rank 3 slow · ✖ rank 6 gone · highest 46.7 MiB on rank 1" in first
    assert first.endswith("spread 3.59 MiB, 7.7 %")
    assert "showing the highest, rank 1" in lines(8, 120, 3, follows_most=True, shown=1)[0]


def test_a_cell_says_as_much_as_all_of_them_can() -> None:
    assert lines(4, 120, 3)[1:] == [
        " ▸0 43.1 MiB  step 1,284  19.2 ms      1▲46.7 MiB  step 1,284  19.2 ms",
        "  2 43.4 MiB  step 1,284  19.2 ms      3◆43.2 MiB  step 1,284  19.2 ms",
    ]
    assert lines(8, 80, 3)[2] == "  4 43.3 MiB   5 43.1 MiB   6✖43.3 MiB   7 43.4 MiB"
    assert lines(64, 80, 3)[1].split() == ["0", "▸▲█◆██✖" + 57 * "█", "63"]


def test_ranks_that_find_no_room_are_counted() -> None:
    assert lines(1000, 80, 3)[2] == " … 936 ranks more: k shows one of them"


def test_where_there_is_one_rank_nothing_is_said(make_app: AppMaker) -> None:
    assert drawn(None, 80, 3, View()) == []
    text = "\n".join("".join(segment.text for segment in row) for row in board(mlp(), 120, 40, View()))
    assert "rank" not in text


@pytest.mark.parametrize(
    ("keys", "asked"),
    [
        (["greater_than_sign"], [1]),
        (["less_than_sign"], [3]),
        (["greater_than_sign", "greater_than_sign", "less_than_sign"], [1, 2, 1]),
        (["w"], [None]),
        (["w", "greater_than_sign"], [None, 2]),
        (["k", "3", "enter"], [3]),
        (["k", "escape"], []),
    ],
)
async def test_keys_choose_a_rank(make_app: AppMaker, keys: list[str], asked: list[int | None]) -> None:
    session = RankedSession(ranked(4))
    app = MemtopApp(session, scenarios=FakeScenarios())  # type: ignore[arg-type]
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press(*keys)
        await pilot.pause()
    assert [call[1] for call in session.calls if call[0] == "show_rank"] == asked


async def test_without_several_ranks_the_keys_do_nothing(make_app: AppMaker) -> None:
    app = make_app(mlp())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("greater_than_sign", "w", "k")
        assert not any(call[0] == "show_rank" for call in app.session.calls)  # type: ignore[attr-defined]
        assert len(app.screen_stack) == 1


@pytest.mark.parametrize(
    ("count", "size"), [(2, (80, 24)), (4, (120, 40)), (8, (80, 24)), (8, (200, 60)), (64, (120, 40))]
)
def test_the_strip(snap_compare: Any, count: int, size: tuple[int, int]) -> None:
    app = MemtopApp(RankedSession(ranked(count)), scenarios=FakeScenarios())  # type: ignore[arg-type]
    assert snap_compare(app, terminal_size=size)
