"""Strings from a target: nothing that a terminal would obey gets through."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtop.model.text import harmless, harmless_data, one_line


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]52;c;aGk=\x1b\\text", "text"),
        ("\x1bPsixel\x1b\\text", "text"),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("\x9b31mtext", "31mtext"),
        ("a\u202eb\u2066c", "abc"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("a\tb", "a   b"),
        ("10 %\r20 %\r\n", "20 %"),
        ("nul\x00bell\x07", "nulbell"),
        ("Grüße 模型", "Grüße 模型"),
        ("[bold]markup[/]", "[bold]markup[/]"),
    ],
)
def test_hostile_strings(hostile: str, shown: str) -> None:
    assert harmless(hostile) == shown


@given(st.text(st.characters() | st.sampled_from("\x1b[]P;m\x07\r\t\x9b\u202e")), st.integers(1, 40))
def test_nothing_that_a_terminal_obeys_is_left(text: str, limit: int) -> None:
    shown = harmless(text, limit)
    assert len(shown) <= limit
    assert not [c for c in shown if c != "\n" and unicodedata.category(c) == "Cc"]
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029")


def test_it_is_cut_and_says_so() -> None:
    assert harmless("x" * 50, 10) == "x" * 9 + "…"
    assert harmless("x" * 10, 10) == "x" * 10


def test_what_was_on_many_lines_is_on_one() -> None:
    assert one_line("  a\n\x1b[2Jb\t\tc \n") == "a b c"
    assert one_line("x" * 50, 10) == "x" * 9 + "…"


def test_every_string_of_a_value_is_harmless() -> None:
    hostile = {"\x1b[1ma": ["\x07b", {"c": "\x9bd"}, None, 1, 1.5, True]}
    assert harmless_data(hostile) == {"a": ["b", {"c": "d"}, None, 1, 1.5, True]}


def test_what_is_nested_too_deep_is_cut() -> None:
    value: object = "\x1b[1mx"
    for _ in range(5000):
        value = [value]
    assert harmless_data(value) == [[[[[[[[None]]]]]]]]
