"""`memtop fit --what-if` and `--as cuda`: what they refuse, what they run, what they print."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from memtop import cli
from memtop.fit import FitError, estimate, estimate_text, planned, planned_text, trial
from memtop.fit.trial import Plan, Trial
from memtop.model.plan import Context
from memtop.model.plan_search import Found
from memtop.model.snapshot import Snapshot
from memtop.model.whatif_look import told
from memtop.session import Options
from tests.tui.deep_fakes import PEAK, deep_cnn
from tests.unit import sample_records as sample


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--as", "cuda"], "how much memory has that GPU?"),
        (["--as", "rocm", "--device-memory", "8GiB"], "invalid value for '--as': 'rocm'"),
        (["--device-memory", "8GiB"], "--device-memory says nothing without --as cuda"),
        (["--alloc-conf", "expandable_segments:True"], "--alloc-conf says nothing without --as cuda"),
        (["--as", "cuda", "--memory", "8GiB"], "--memory is of trial runs; say --device-memory"),
        (["--as", "cuda", "--device-memory", "8GiB", "--trials", "3"], "--trials says nothing with --as cuda"),
        (["--as", "cuda", "--device-memory", "none"], "'none' is not a size"),
        (["--what-if", "--as", "cuda", "--device-memory", "8GiB"], "--what-if is of this device"),
        (["--what-if", "--most", "9"], "--most says nothing with --what-if"),
        (["--what-if", "--multiple-of", "8"], "--multiple-of says nothing with --what-if"),
        (["--as", "cuda", "--device-memory", "8GiB", "--alloc-conf", "x:1"], "unknown allocator setting 'x'"),
        (["--as", "cuda", "--device-memory", "8GiB", "--alloc-conf", "backend:cudaMallocAsync"], "another allocator"),
        (["--as", "cuda", "--device-memory", "8GiB", "python", "t.py"], "which of the command's flags"),
        (["--what-if", "--start", "8", "python", "t.py"], "which of the command's flags"),
        (["--what-if", "--batch-size", "8", "--start", "8"], "--batch-size and --start both say the batch"),
        (["--as", "cuda", "--device-memory", "8GiB", "--batch-size", "8"], "--batch-size is what is looked for"),
    ],
)
def test_what_makes_no_sense_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], says: str) -> None:
    assert cli.main(["fit", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    assert says in err


@pytest.mark.parametrize(
    ("variables", "conf"),
    [
        ({"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:64"}, "max_split_size_mb:64"),
        ({"PYTORCH_CUDA_ALLOC_CONF": "a:1", "PYTORCH_ALLOC_CONF": "max_split_size_mb:32"}, "max_split_size_mb:32"),
        ({}, ""),
    ],
)  # fmt: skip
def test_the_environments_settings_are_the_allocators(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], conf: str
) -> None:
    for name in ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    seen: list[str] = []

    def plan(*_: Any, conf: str, **__: Any) -> Any:
        seen.append(conf)
        raise FitError("enough", "seen")

    monkeypatch.setattr(planned, "planned", plan)
    assert cli.main(["fit", "--as", "cuda", "--device-memory", "8GiB"]) == 1
    assert seen == [conf]


RAN = Trial(batch_size=64, outcome="ran", peak_bytes=PEAK, device="cpu", seen_batch=64)
SNAPSHOT = replace(deep_cnn(), forecast=sample.forecast(device="cuda:0", step=2))


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int | None]]:
    """What a run comes to, and the batches that were run."""
    asked: list[int | None] = []

    def set_up(trial: Trial = RAN, snapshot: Snapshot = SNAPSHOT) -> list[int | None]:
        def watched(plan: Plan, batch: int | None, tick: Any) -> tuple[Trial, Snapshot]:
            asked.append(batch)
            return trial, snapshot

        monkeypatch.setattr(estimate, "watched", watched)
        return asked

    return set_up


def test_what_if_prints_a_line_a_change(
    ran: Callable[..., list[int | None]], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ran()
    assert cli.main(["fit", "--what-if", "--memory", "1GiB", "--scenario", "cnn"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert asked == [None], "its own batch"
    table = {line[:25].strip(): line for line in out[3:]}
    assert "~" not in table["as it is"][:40]
    assert table["as it is"].split()[3:5] == ["43.1", "MiB"]
    assert "~ SGD" in table
    assert all("~" in line for name, line in table.items() if name.startswith("~"))
    assert "1,073,741,824 B (as asked, 2.0 % of a peak left free)" in out[-1]


def test_what_if_as_json(ran: Callable[..., list[int | None]], capsys: pytest.CaptureFixture[str]) -> None:
    asked = ran()
    assert cli.main(["fit", "--what-if", "--start", "32", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert asked == [32]
    now, *changes = found["lines"]
    assert (now["name"], now["estimate"], now["peak_bytes"], now["saves_bytes"]) == ("as it is", False, PEAK, 0)
    assert changes
    for line in changes:
        assert line["estimate"]
        assert line["peak_bytes"] + line["saves_bytes"] == PEAK
        assert line["max_batch_size"] > 0
        assert line["rests_on"]
    assert found["limit_bytes"] == SNAPSHOT.forecast.limit_bytes  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("trial", "snapshot", "says"),
    [
        (replace(RAN, outcome="oom", words=("it was full",)), SNAPSHOT, "batch 64 ran out of memory"),
        (replace(RAN, outcome="failed", words=("boom",)), SNAPSHOT, "did not come to its end"),
        (RAN, replace(SNAPSHOT, deep=None), "says too little"),
    ],
)
def test_a_run_that_says_nothing_is_one_line(
    ran: Callable[..., list[int | None]],
    capsys: pytest.CaptureFixture[str],
    trial: Trial,
    snapshot: Snapshot,
    says: str,
) -> None:
    ran(trial, snapshot)
    assert cli.main(["fit", "--what-if"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err
    assert all(word in err for word in trial.words)


def made(sure: int, perhaps: int, bounded: bool = True) -> planned.Planned:
    row = planned.Row(batch=8, fits="yes", requested=1, allocated=2**20, reserved=2**21, low=3, used=4, high=5)
    return planned.Planned(
        device="cpu",
        limit=2**30,
        margin=0.0,
        conf="expandable_segments:True",
        context=Context(),
        batches=(8, 12),
        found=Found(plans={8: None}, sure=sure, perhaps=perhaps, bounded=bounded),  # type: ignore[dict-item]
        rows=(row,),
        rests_on=("a model",),
    )


@pytest.mark.parametrize(
    ("sure", "perhaps", "bounded", "says"),
    [
        (8, 8, True, "largest batch that fits: ~ 8"),
        (8, 9, True, "largest batch that fits: ~ 8, perhaps 9"),
        (0, 9, True, "no batch surely fits, perhaps 9"),
        (0, 0, True, "not even batch 8 fits 1.00 GiB"),
        (96, 96, False, "memory sets no bound up to batch 96"),
    ],
)
def test_the_answer_of_a_plan(sure: int, perhaps: int, bounded: bool, says: str) -> None:
    lines = planned_text.table(made(sure, perhaps, bounded))
    assert says in lines
    assert "never been compared with a real GPU" in lines[0]
    assert lines[3].split()[:7] == ["8", "~", "1.00", "MiB", "~", "2.00", "MiB"]
    assert lines[-1].endswith("expandable_segments:True")
    found = planned_text.as_json(made(sure, perhaps, bounded))
    assert (found["estimate"], found["compared_with_a_gpu"]) == (True, False)
    assert (found["batch_size"], found["perhaps_batch_size"]) == (sure, perhaps)


def test_an_unknown_limit_is_said_to_be_unknown() -> None:
    lines = told(replace(SNAPSHOT, forecast=None))
    assert lines is not None
    found = estimate.Estimate(trial=RAN, told=lines, limit_is="not known")
    assert estimate_text.as_json(found)["limit_bytes"] is None
    assert estimate_text.table(found)[3].split()[-2:] == ["—", "measured"]


def test_a_command_runs_as_it_is_or_with_its_flag() -> None:
    plan = Plan(options=Options(command=("python", "t.py", "--batch", "4")), flag="--batch")
    assert plan.at(None).command == ("python", "t.py", "--batch", "4")
    assert plan.at(9).command == ("python", "t.py", "--batch", "9")
    assert trial.Plan(options=Options(scenario="cnn"), steps=3).at(None).settings["batch_size"] == 64
