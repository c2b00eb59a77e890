"""One screen as text."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from memtop.tui.once import render

from .fakes import STATES, cnn, mlp


@pytest.mark.parametrize("state", STATES)
@settings(max_examples=20, deadline=None)
@given(width=st.integers(20, 250), height=st.one_of(st.none(), st.integers(5, 70)))
def test_no_line_is_longer_than_the_width(state: str, width: int, height: int | None) -> None:
    text = render(STATES[state](), width, height)
    lines = text.split("\n")
    assert max(cell_len(line) for line in lines) <= width
    assert height is None or len(lines) <= height
    assert "\x1b" not in text


def test_it_says_what_the_screen_says() -> None:
    text = render(cnn(), 120)
    for words in ("cnn", "activations", "38.5 MiB", "NVIDIA H200", "context", "Σ whole device", "3,334"):
        assert words in text


def test_colour_is_there_only_when_asked_for() -> None:
    assert "\x1b[" in render(mlp(), 100, colour=True)
    assert "\x1b[" not in render(mlp(), 100, colour=False)


def test_without_utf8_all_of_it_is_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    for state in STATES.values():
        assert render(state(), 120).isascii()


def test_textual_is_not_imported_for_it() -> None:
    code = "import sys, memtop.tui.once; assert not [m for m in sys.modules if m.split('.')[0] == 'textual']"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
