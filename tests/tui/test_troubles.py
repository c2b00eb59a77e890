"""The details of what needs action: memory that ran out, leaks, waits."""

from __future__ import annotations

import pytest

from memtop.model import i18n, oom_text
from memtop.session.ooms import as_data
from memtop.tui.draw.board import board
from memtop.tui.draw.troubles import troubles
from memtop.tui.view import View

from .fakes import STATES
from .test_deep_draw import texts
from .test_draw_sizes import KEYS


@pytest.mark.parametrize("width", [40, 80, 200])
def test_an_oom_is_explained_in_full(width: int) -> None:
    told = "".join("".join(texts(troubles(STATES["out_of_memory"](), width, View()))).split())
    for fact in ("2.50GiBmorewerewanted", "/home/a/train.py:57:x=self.block3(x)(moduleblock3.conv)", "1.48GiB",
                 "thebatchwas(64,3,32,32)float32", "expandable_segments", "saves3.73GiB", "saves~1.53GiB"):  # fmt: skip
        assert fact in told.replace("askedforin:", "").replace(":/home", "/home"), fact


def test_a_leak_has_its_line_its_remedy_and_the_lines_that_wait_theirs() -> None:
    told = "\n".join(texts(troubles(STATES["leaking"](), 100, View())))
    assert "leak at train.py:31: 1 tensor, 2.00 MiB more a step" in told
    assert "loss = criterion(model(x), y)" in told
    assert "→ keep `loss.item()`" in told
    assert "in step 30: 13 times, 12.7 ms in all" in told
    assert "1 ×  12.3 ms  train.py:40" in told
    assert "12 ×   400 µs  —" in told


def test_nothing_is_said_where_all_is_well() -> None:
    assert troubles(STATES["mlp"](), 80, View()) == []


def test_the_first_line_says_which_key_explains() -> None:
    first = texts(board(STATES["leaking"](), 120, 40, View(keys=KEYS)))[0]
    assert first.startswith(" ! leak at train.py:31")
    assert "v explains" in first
    assert "v explains" not in texts(board(STATES["leaking"](), 120, 40, View()))[0]


def test_an_oom_is_explained_in_the_persons_language_and_logged_in_english() -> None:
    told = STATES["out_of_memory"]().oom
    assert told is not None
    try:
        i18n.use("zh")
        shown = "\n".join(texts(troubles(STATES["out_of_memory"](), 120, View())))
        logged = oom_text.lines(told) + as_data(told)["changes"]
    finally:
        i18n.use("en")
    assert "cuda:0 在第 3 步内存用尽：还要 2.50 GiB" in shown
    assert "批大小用 506 代替 512" in shown
    assert "was (64, 3, 32, 32)" not in shown
    assert "the batch was (64, 3, 32, 32) float32, it is (512, 3, 32, 32) float32" in logged
    assert not any("内存" in line for line in logged)
