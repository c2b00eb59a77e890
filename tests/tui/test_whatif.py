"""The what-if screen: forecasts marked as such, lines tried for real and measured beside them, at every size."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from memtop.model.categories import TENSORS
from memtop.model.records import Setting
from memtop.model.snapshot import Choice, DeepLook, Snapshot
from memtop.tui.scenarios import Offered
from memtop.tui.screens.whatif import WhatIfScreen
from memtop.tui.trying import Entry, Trying
from tests.unit import sample_records as sample

from .conftest import AppMaker
from .deep_fakes import PEAK, deep_cnn

SETTINGS: dict[str, Setting] = {"batch_size": 64, "optimizer": "adam", "precision": "fp32", "inplace": "off"}
OFFERED = (
    Offered(name="optimizer", title="optimizer", kind="str", choices=("sgd", "momentum", "adam", "adamw")),
    Offered(name="precision", title="precision", kind="str", choices=("fp32", "bf16")),
    Offered(name="inplace", title="in-place", kind="str", choices=("off", "on")),
)


def watched(**settings: Setting) -> Snapshot:
    """A CNN with a deep look, its forecast, and these settings."""
    return replace(deep_cnn(), forecast=sample.forecast(device="cuda:0", step=2), settings={**SETTINGS, **settings})


def another_look(snapshot: Snapshot, less: int) -> DeepLook:
    """A look of another run: its peak is lower by so many bytes of activations."""
    assert snapshot.deep is not None
    peak = snapshot.deep.peak
    held = {**peak.bytes, "activations": (peak.bytes["activations"] or 0) - less}
    return replace(snapshot.deep, peak=replace(peak, bytes=held))


@pytest.fixture
def trying() -> Trying:
    return Trying(lambda name: OFFERED)


def entry(trying: Trying, name: str) -> Entry:
    return next(one for one in trying.entries if one.line.name == name)


def test_how_things_are_comes_first_and_the_rest_by_peak(trying: Trying) -> None:
    trying.take(watched())
    lines = [one.line for one in trying.entries]
    assert (lines[0].now, lines[0].peak) == (True, PEAK)
    assert [line.peak for line in lines[1:]] == sorted(line.peak for line in lines[1:])
    assert [one.line.name for one in trying.entries if one.runs] == ["as it is"]
    assert all(line.max_batch is not None for line in lines)


def test_a_line_is_tried_where_there_is_a_setting(trying: Trying) -> None:
    trying.take(watched())
    assert trying.settings_for(entry(trying, "SGD")) == {"optimizer": "sgd", "precision": "fp32", "inplace": "off"}
    assert trying.settings_for(entry(trying, "pure bf16")) is None, "not among the scenario's precisions"
    assert trying.settings_for(entry(trying, "checkpointing")) is None, "this scenario has none"
    assert trying.settings_for(entry(trying, "as it is")) is None, "it runs"


def test_what_its_own_look_measures_stands_beside_the_forecast(trying: Trying) -> None:
    base = watched()
    trying.take(base)
    forecast = entry(trying, "SGD").line.peak
    trying.take(watched(optimizer="sgd"))
    assert entry(trying, "SGD").runs
    assert entry(trying, "SGD").measured is None, "the look is still that of the run before"
    trying.take(replace(watched(optimizer="sgd"), deep=None))
    assert entry(trying, "SGD").line.peak == forecast, "the lines stay those of the base"
    trying.take(replace(watched(optimizer="sgd"), deep=another_look(base, PEAK - 40_000_000)))
    assert entry(trying, "SGD").measured == 40_000_000
    assert entry(trying, "SGD").off == pytest.approx(forecast / 40_000_000 - 1)
    back = trying.settings_for(entry(trying, "as it is"))
    assert back == {"optimizer": "adam", "precision": "fp32", "inplace": "off"}
    trying.take(base)
    assert entry(trying, "SGD").measured == 40_000_000, "it stays when one goes back"
    assert entry(trying, "as it is").runs


def test_another_change_makes_a_new_base(trying: Trying) -> None:
    base = watched()
    trying.take(base)
    trying.take(replace(watched(optimizer="sgd"), deep=another_look(base, 1)))
    trying.take(replace(watched(optimizer="sgd", batch_size=128), deep=another_look(base, 1)))
    assert not trying.entries, "the look is still that of the run before"
    assert trying.why is not None
    trying.take(replace(watched(optimizer="sgd", batch_size=128), deep=another_look(base, 2)))
    assert entry(trying, "as it is").runs
    assert not [one for one in trying.entries if one.measured is not None and not one.line.now]


@pytest.mark.parametrize("lacks", ["deep", "trace", "model"])
def test_without_a_look_it_says_why(trying: Trying, lacks: str) -> None:
    full = watched()
    assert full.deep is not None
    changed: dict[str, Any] = {"deep": replace(full.deep, trace=None)} if lacks == "trace" else {lacks: None}
    trying.take(replace(full, **changed))
    assert not trying.entries
    assert trying.why
    trying.take(replace(full, deep=replace(full.deep, trace=None), replay=1.0))
    assert trying.why is not None
    assert "--trace-steps" in trying.why


async def test_enter_starts_anew_with_the_setting(make_app: AppMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app(watched())
    monkeypatch.setattr(app.scenarios, "settings", lambda name: OFFERED)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("f")
        await pilot.pause()
        assert isinstance(app.screen, WhatIfScreen)
        names = [one.line.name for one in app.screen.trying.entries]
        await pilot.press(*["down"] * names.index("SGD"), "enter")
        await pilot.pause()
        wanted = {"optimizer": "sgd", "precision": "fp32", "inplace": "off"}
        assert app.session.calls[-1] == ("restart", None, wanted)  # type: ignore[attr-defined]
        await pilot.press("escape", "f")
        assert app.trying is not None


async def test_a_command_of_ones_own_has_lines_and_nothing_to_try(make_app: AppMaker) -> None:
    app = make_app(replace(watched(), choices=(), settings={}))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("f")
        await pilot.press("down", "enter")
        await pilot.pause()
        assert app.trying is not None
        assert len(app.trying.entries) > 5
        assert not [call for call in app.session.calls if call[0] == "restart"]  # type: ignore[attr-defined]


def tried(snapshot: Snapshot) -> Trying:
    """Two lines measured, one of them running."""
    found = Trying(lambda name: OFFERED)
    found.take(snapshot)
    for number, name in enumerate(("adamw", "sgd")):
        look = another_look(snapshot, 2_000_000 + number)
        found.take(replace(snapshot, settings={**snapshot.settings, "optimizer": name}, deep=look))
    return found


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
def test_picture(snap_compare: Any, make_app: AppMaker, size: tuple[int, int]) -> None:
    base = watched()
    kept = tried(base)
    app = make_app(replace(watched(optimizer="sgd"), deep=another_look(base, 2_000_001)))
    app.trying = kept
    place = [one.line.name for one in kept.entries].index("SGD")
    assert snap_compare(app, terminal_size=size, press=["f", *["down"] * place])


@pytest.mark.parametrize("size", [(80, 24)])
def test_picture_of_a_command(snap_compare: Any, make_app: AppMaker, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(replace(watched(), choices=(), settings={})), terminal_size=size, press=["f", "down"])


def test_the_fakes_agree() -> None:
    snapshot = watched()
    assert snapshot.deep is not None
    assert sum(snapshot.deep.peak.bytes.get(name) or 0 for name in TENSORS) == PEAK
    assert all(isinstance(choice, Choice) for choice in snapshot.choices)
