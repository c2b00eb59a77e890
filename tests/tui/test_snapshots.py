"""Pictures that a person has looked at, narrow, medium and wide. `pytest --snapshot-update` takes them anew."""

from __future__ import annotations

from typing import Any

import pytest

from .batch_fakes import colour, fed, gray, table, text
from .conftest import AppMaker
from .deep_fakes import deep_cnn, teeth, tracked_cnn
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


@pytest.mark.parametrize("size", [NARROW, MEDIUM, WIDE])
def test_main_screen_with_a_deep_look(snap_compare: Any, make_app: AppMaker, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(deep_cnn()), terminal_size=size)


@pytest.mark.parametrize("size", [NARROW, (160, 45)])
@pytest.mark.parametrize(
    ("name", "press"),
    [
        ("step", ["1", *["left"] * 6]),
        ("modules", ["2", "s", "down", "down"]),
        ("lines", ["3", "enter", "down"]),
        ("tracked", ["4", "home"]),
    ],
)
def test_inside_the_step(
    snap_compare: Any, make_app: AppMaker, name: str, press: list[str], size: tuple[int, int]
) -> None:
    assert snap_compare(make_app(tracked_cnn()), terminal_size=size, press=["x", *press])


def test_a_checkpointed_stack_has_teeth(snap_compare: Any, make_app: AppMaker) -> None:
    assert snap_compare(make_app(teeth()), terminal_size=MEDIUM, press=["x"])


def test_details_with_a_deep_look(snap_compare: Any, make_app: AppMaker) -> None:
    app = make_app(deep_cnn(announced_seconds=0.21, looks=2))
    assert snap_compare(app, terminal_size=(120, 60), press=["v"])


def test_before_the_first_deep_look(snap_compare: Any, make_app: AppMaker) -> None:
    assert snap_compare(make_app(STATES["mlp"]()), terminal_size=NARROW, press=["x", "2"])


@pytest.mark.parametrize("size", [NARROW, MEDIUM])
@pytest.mark.parametrize("batch", [colour, gray, text, table])
def test_what_goes_in(snap_compare: Any, make_app: AppMaker, batch: Any, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(fed(batch())), terminal_size=size, press=["x", "5"])


@pytest.mark.parametrize("size", [NARROW, MEDIUM])
def test_what_a_model_is_made_of(snap_compare: Any, make_app: AppMaker, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(deep_cnn()), terminal_size=size, press=["x", "2", "b"])
