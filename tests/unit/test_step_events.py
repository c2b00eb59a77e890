"""What the probe writes down for a plan: held against the same look's records, and against steps at other batches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the probe lives in a process that has torch")

from torch import nn  # noqa: E402

from memtop.launcher.events_folder import EventsFolder  # noqa: E402
from memtop.model.extrapolate import Unlike, at_batch, per_sample  # noqa: E402
from memtop.model.step_events import EventsError, decode  # noqa: E402
from memtop.probe import events as written  # noqa: E402
from tests.unit.deep_driver import Driver, modules_of  # noqa: E402
from tests.unit.step_files import cnn, looked, mlp  # noqa: E402


@pytest.mark.parametrize("build", [mlp, cnn])
def test_the_file_says_what_the_records_say(build: Any) -> None:
    events, seen = looked(build(), 32)
    assert events.peak == seen.peak
    totals = [dict(now) for now in events.totals()]
    for moment in ("forward_end", "backward_end", "step_end"):
        assert totals[events.moments[moment]] == seen.at(moment)
    assert (events.device, events.step, events.rank, events.played) == ("cpu", 2, 0, False)
    linear = [number for number in range(len(events.births)) if events.operator(number) == "aten.addmm"]
    assert all(events.phase(number) == "forward" for number in linear)
    assert {events.births[number].shape[0] for number in linear} == {32}


@pytest.mark.parametrize("build", [mlp, cnn])
@pytest.mark.parametrize("batch", [3, 64, 101])
def test_a_batch_size_that_nobody_ran(build: Any, batch: int) -> None:
    """Every storage and every change of a real step at that size, from those of two others."""
    (small, _), (large, _), (real, seen) = (looked(build(), size) for size in (16, 24, batch))
    guessed = at_batch((16, small), (24, large), batch)
    assert [one.bytes for one in guessed.births] == [one.bytes for one in real.births]
    assert guessed.changes == real.changes
    assert guessed.peak == seen.peak
    assert at_batch((24, large), (16, small), batch) == guessed, "whichever comes first"


def test_what_grows_with_the_batch_is_told() -> None:
    (small, _), (large, _) = looked(mlp(), 16), looked(mlp(), 32)
    grows = per_sample((16, small), (32, large))
    kinds = {small.category(number) for number in grows}
    assert kinds == {"inputs", "activations", "temporaries"}
    assert max(grows.values()) == 3072 * 4


def test_steps_that_do_something_else_are_not_drawn_a_line_through() -> None:
    (plain, _), (deeper, _) = looked(mlp(), 16), looked(nn.Sequential(mlp(), nn.ReLU()), 32)
    with pytest.raises(Unlike, match="storages and"):
        at_batch((16, plain), (32, deeper), 64)
    other = looked(nn.Sequential(nn.Flatten(), nn.Linear(3072, 128), nn.Tanh(), nn.Linear(128, 10)), 32)[0]
    with pytest.raises(Unlike, match=r"aten\.(relu|tanh)"):
        at_batch((16, plain), (32, other), 64)
    with pytest.raises(Unlike, match="do not say"):
        at_batch((16, plain), (16, plain), 64)


def test_nothing_is_written_unless_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(written.FOLDER, raising=False)
    monkeypatch.chdir(tmp_path)
    model = mlp()
    driver = Driver(torch.optim.SGD(model.parameters(), lr=1e-3), modules=modules_of(model))
    x = torch.randn(4, 3072)
    driver.look(lambda: model(x).sum().backward())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_costs_a_note_and_nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(written.FOLDER, str(tmp_path / "gone"))
    model = mlp()
    driver = Driver(torch.optim.SGD(model.parameters(), lr=1e-3), modules=modules_of(model))
    x = torch.randn(4, 3072)
    seen = driver.look(lambda: model(x).sum().backward())
    assert any("could not be written down" in note for note in seen.memory("peak")["notes"])


def test_the_folder_is_private_and_goes() -> None:
    with EventsFolder() as folder:
        path = Path(folder.environment[written.FOLDER])
        assert path.stat().st_mode & 0o777 == 0o700
        (path / ".half.json").write_text("{")
        assert folder.read() == []
        (path / "whole.json").write_text("{}")
        with pytest.raises(EventsError):
            folder.read()
    assert not path.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("held", [99999]),
        ("held", [-1]),
        ("changes", [[99999, 4]]),
        ("changes", [[0, -4]]),
        ("moments", {"forward_end": 99999}),
        ("births", [[9, 0, 0, 0, 0, 4, []]]),
        ("births", [[0, 0, 0, 0, 0, -4, []]]),
        ("births", [[0, 0, 0, 0]]),
        ("v", 2),
        ("kind", "trace"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused_in_one_line(field: str, value: Any) -> None:
    facts = {
        "v": 1,
        "kind": "storages",
        "pid": 1,
        "rank": 0,
        "device": "cpu",
        "step": 2,
        "played": False,
        "categories": ["parameters"],
        "phases": ["held"],
        "operators": [""],
        "modules": [""],
        "dtypes": ["x"],
        "births": [[0, 0, 0, 0, 0, 4, [1]]],
        "held": [0],
        "changes": [[0, 0]],
        "moments": {"step_end": 1},
    }
    assert decode(json.dumps(facts).encode()).peak == 4
    with pytest.raises(EventsError) as caught:
        decode(json.dumps(facts | {field: value}).encode())
    assert "\n" not in str(caught.value)
