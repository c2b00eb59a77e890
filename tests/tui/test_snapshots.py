"""Pictures that a person has looked at, narrow, medium and wide. `pytest --snapshot-update` takes them anew."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import AppMaker
from .fakes import STATES

NARROW, MEDIUM, WIDE = (80, 24), (120, 40), (200, 60)


@pytest.mark.parametrize(
    ("state", "size"),
    [
        ("mlp", NARROW),
        ("mlp", MEDIUM),
        ("cnn", NARROW),
        ("cnn", WIDE),
        ("importing", MEDIUM),
        ("out_of_memory", NARROW),
        ("out_of_memory", MEDIUM),
        ("hostile", MEDIUM),
    ],
)
def test_main_screen(snap_compare: Any, make_app: AppMaker, state: str, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(STATES[state]()), terminal_size=size)


@pytest.mark.parametrize(
    ("name", "press"),
    [("help", ["question_mark"]), ("picker", ["s"]), ("details", ["v"]), ("light", ["t"])],
)
def test_other_screens(snap_compare: Any, make_app: AppMaker, name: str, press: list[str]) -> None:
    assert snap_compare(make_app(STATES["cnn"]()), terminal_size=MEDIUM, press=press)
