"""Keys reach the session, and those that can't do anything are dim."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from memtop.launcher import manifests
from memtop.model.snapshot import LogState, Phase
from memtop.tui.app import MemtopApp
from memtop.tui.keys import EVERYWHERE, FOOTER, GROUPS, MAIN
from memtop.tui.screens.help import HelpScreen, lines_of
from memtop.tui.screens.main import MainScreen
from memtop.tui.widgets.board import Board
from memtop.tui.widgets.lines import Lines

from .conftest import AppMaker
from .fakes import cnn, importing, mlp, paused


def calls(app: MemtopApp) -> list[tuple[Any, ...]]:
    """What the session was asked beside its start."""
    return [call for call in app.session.calls if call != ("start",)]  # type: ignore[attr-defined]


def main_of(app: MemtopApp) -> MainScreen:
    """The main screen, wherever it lies in the stack."""
    return next(screen for screen in app.screen_stack if isinstance(screen, MainScreen))


def text_of(app: MemtopApp) -> str:
    """The main screen as text."""
    board = main_of(app).query_one(Board)
    return "\n".join(board.render_line(y).text for y in range(board.size.height))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["space"], ("pause",)),
        (["r"], ("restart", None, None)),
        (["minus"], ("restart", None, {"batch_size": 32})),
        (["plus"], ("restart", None, {"batch_size": 128})),
        (["equals_sign"], ("restart", None, {"batch_size": 128})),
        (["o"], ("restart", None, {"optimizer": "adamw"})),
        (["p"], ("restart", None, {"precision": "bf16"})),
        (["right_square_bracket"], ("restart", "cnn", None)),
        (["n"], ("restart", "cnn", None)),
        (["left_square_bracket"], ("restart", "mlp-mnist", None)),
        (["b", "9", "6", "enter"], ("restart", None, {"batch_size": 96})),
        (["s", "down", "enter"], ("restart", "cnn", None)),
        (["s", "m", "n", "i", "s", "t", "enter"], ("restart", "mlp-mnist", None)),
        (["comma", "enter", "up", "enter"], ("restart", None, {"optimizer": "sgd"})),
        (["comma", "down", "enter", "7", "enter"], ("restart", None, {"seed": 7})),
    ],
)
async def test_a_key_asks_the_session(make_app: AppMaker, keys: list[str], expected: tuple[Any, ...]) -> None:
    app = make_app(mlp(settings={"batch_size": 64, "optimizer": "adam", "precision": "fp32", "seed": 0}))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press(*keys)
        await pilot.pause()
        assert calls(app) == [expected]


@pytest.mark.parametrize("keys", [["b", "escape"], ["s", "escape"], ["comma", "escape"], ["c"], ["i"], ["s", "enter"]])
async def test_these_change_nothing(make_app: AppMaker, keys: list[str]) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press(*keys)
        await pilot.pause()
        assert calls(app) == []
        assert isinstance(app.screen, MainScreen)


async def test_a_batch_size_that_is_none_is_refused_and_asked_again(make_app: AppMaker) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("b", "0", "enter")
        assert calls(app) == []
        await pilot.press("backspace", "8", "enter")
        assert calls(app) == [("restart", None, {"batch_size": 8})]


async def test_a_paused_training_is_resumed(make_app: AppMaker) -> None:
    app = make_app(paused())
    async with app.run_test(size=(120, 40)) as pilot:
        assert "space resume" in text_of(app)
        await pilot.press("space")
        assert calls(app) == [("resume",)]


async def test_keys_that_cannot_work_are_dimmed(make_app: AppMaker) -> None:
    app = make_app(importing(choices=()))
    async with app.run_test(size=(120, 40)) as pilot:
        main = main_of(app)
        assert main.check_action("pause", ()) is None
        assert main.check_action("cycle", ("c",)) is None
        assert main.check_action("scale_batch", (1,)) is None
        assert main.check_action("log", ()) is True
        app.session.publish(cnn())  # type: ignore[attr-defined]
        app.urge()
        await pilot.pause()
        assert main.check_action("pause", ()) is True
        assert main.check_action("cycle", ("i",)) is True


async def test_log_on_says_where_and_log_off_closes(make_app: AppMaker, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    app = make_app()
    async with app.run_test(size=(200, 40)) as pilot:
        await pilot.press("l")
        name, path = calls(app)[0]
        assert name == "start_log"
        assert Path(path).parent == tmp_path
        assert Path(path).name.startswith("memtop-mlp-cifar-")
        assert path.endswith(".jsonl")
        assert path in text_of(app)
        app.session.publish(mlp(logs=(LogState(path=path, ok=True, records=1),)))  # type: ignore[attr-defined]
        app.urge()
        await pilot.press("l")
        assert calls(app)[1] == ("stop_logs",)


async def test_a_log_that_cannot_be_written_is_said(make_app: AppMaker) -> None:
    app = make_app()
    app.session.log_error = "no space left on device"  # type: ignore[attr-defined]
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("l")
        assert "no log: no space left on device" in text_of(app)


async def test_units_theme_and_moment_go_round(make_app: AppMaker) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        assert "1.51 MiB" in text_of(app)
        await pilot.press("u", "u", "u")
        await pilot.pause()
        assert "1,578,536 B" in text_of(app)
        themes = []
        for _ in range(4):
            await pilot.press("t")
            await pilot.pause()
            themes.append(app.theme)
        assert themes == ["light", "high-contrast", "ansi", "dark"]
        await pilot.press("m")
        await pilot.pause()
        assert "forward end of step 1,284" in text_of(app)


async def test_a_picture_is_written_where_one_stands(make_app: AppMaker, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    app = make_app()
    async with app.run_test(size=(200, 40)) as pilot:
        await pilot.press("ctrl+s")
        (picture,) = list(tmp_path.glob("memtop-*.svg"))  # noqa: ASYNC240
        assert "parameters" in picture.read_text("utf-8")
        assert str(picture) in text_of(app)


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_leaving(make_app: AppMaker, key: str) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(key)
        await pilot.pause()
        assert app.return_code in (0, None)
        assert app.return_value == 0
        assert not app.is_running or app._exit


async def test_help_lists_every_binding_in_force(make_app: AppMaker) -> None:
    app = make_app()
    async with app.run_test(size=(120, 60)) as pilot:
        wanted = {active.binding.id for active in app.screen.active_bindings.values() if active.binding.id}
        assert {binding.id for binding in (*MAIN, *EVERYWHERE)} <= wanted  # type: ignore[union-attr]
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(app.screen, HelpScreen)
        text = "\n".join("".join(segment.text for segment in row) for row in app.screen.query_one(Lines)._rows)
        for binding in (*MAIN, *EVERYWHERE):
            assert binding.tooltip[:30] in text  # type: ignore[union-attr]
        await pilot.press("escape")
        assert isinstance(app.screen, MainScreen)


async def test_help_of_another_screen_is_about_that_screen(make_app: AppMaker) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("e")
        await pilot.pause()
        words = [line.words for line in lines_of(app.screen.active_bindings)]
        assert "Find words" in words
        assert "Half the batch size (a new process)" not in words


def test_every_key_has_an_id_a_heading_and_a_sentence() -> None:
    bindings = [*MAIN, *EVERYWHERE]
    ids = [binding.id for binding in bindings]  # type: ignore[union-attr]
    assert len(set(ids)) == len(ids)
    assert all(name and name.split(".")[0] in GROUPS for name in ids)
    assert all(len(binding.tooltip) > 8 for binding in bindings)  # type: ignore[union-attr]


def test_no_two_actions_share_a_key() -> None:
    keys = [key for binding in (*MAIN, *EVERYWHERE) for key in binding.key.split(",")]  # type: ignore[union-attr]
    assert len(set(keys)) == len(keys)


def test_the_manifests_keys_are_ours() -> None:
    """A key that a manifest offers either changes its setting or is one of the batch's two."""
    cycled = {foot.action.split("'")[1] for foot in FOOTER if "cycle" in foot.action}
    offered = {spec.key for name in manifests.names() for spec in manifests.load(name).settings if spec.key}
    assert offered <= cycled | {"- +"}


async def test_a_click_on_a_key_of_the_footer_works_like_the_key(make_app: AppMaker) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        last = text_of(app).splitlines()[39]
        await pilot.click(Board, offset=(last.index("space pause"), 39))
        await pilot.pause()
        assert calls(app) == [("pause",)]


@pytest.mark.parametrize(("settings", "there"), [(True, True), (False, False)], ids=["a scenario", "a command"])
async def test_the_footer_offers_what_this_training_has(make_app: AppMaker, settings: bool, there: bool) -> None:
    """A key that can never work takes no room: one that chooses, of a command; one of a setting that is not there."""
    app = make_app(mlp() if settings else mlp(choices=()))
    async with app.run_test(size=(120, 40)):
        last = text_of(app).splitlines()[39]
        assert "checkpoint" not in last, "the perceptron has no such setting"
        assert all((words in last) is there for words in ("s scenario", "- + batch", "o optimizer"))
        assert all(words in last for words in ("x inside", "d deep look", "space pause", "l log", "v details"))


async def test_a_target_that_never_started_is_said_and_does_not_end_the_app(make_app: AppMaker) -> None:
    class LaunchFailed(Exception):
        message, remedy = "torch is not installed for /usr/bin/python3", "pip install torch-memtop[torch]"

    app = make_app(replace(importing(), phase=Phase.STARTING), LaunchFailed())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        first = text_of(app).splitlines()[0]
        assert "torch is not installed" in first
        assert "pip install" in first
        await pilot.press("q")
