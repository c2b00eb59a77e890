"""`memtop fit`'s search over trials: what counts as memory, what does not, and what it says of the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from memtop import cli
from memtop.fit import Finding, FitError, finding, text
from memtop.fit.trial import Plan, Trial, with_flag
from memtop.model.forecast import Affine
from memtop.model.search import Search
from memtop.session import Options

FIXED, EACH = 1_000_000, 10_000
LINES = (Affine(phase="backward", fixed_bytes=FIXED, bytes_per_sample=EACH),)
PLAN = Plan(options=Options(command=("python", "train.py", "--lr", "1")), flag="--bs")
LIMIT = FIXED + 100 * EACH
"""Fits 100."""


def ran(batch: int, seen: int | None = None, **more: Any) -> Trial:
    """A trial that took `seen` samples a step, as many as asked for without it."""
    took = batch if seen is None else seen
    rates = {"timed": 4, "least_per_second": 90.0, "samples_per_second": 100.0, "most_per_second": 110.0}
    known: dict[str, Any] = {"outcome": "ran", "peak_bytes": FIXED + took * EACH, "lines": LINES, "seen_batch": took}
    return Trial(**({"batch_size": batch, "device": "cpu", "steps": 6} | known | rates | more))


def short(batch: int, steps: int = 0, in_a_pass: int | None = None, words: tuple[str, ...] = ()) -> Trial:
    return Trial(batch_size=batch, outcome="short", steps=steps, pass_samples=in_a_pass, words=words)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Finding]:
    """A whole search over made-up trials."""

    def search(trial: Callable[[int], Trial], limit: int = LIMIT, **more: Any) -> Finding:
        monkeypatch.setattr(finding, "run", lambda plan, batch, tick: trial(batch))
        return finding.find(PLAN, Search(limit, **more), "as asked", tick=lambda *_: True, done=text.row)

    return search


def asked(found: Finding) -> list[int]:
    return [one.batch_size for one in found.trials]


Tried = Callable[..., Finding]


def test_a_batch_that_fits_is_proved_by_the_next(tried: Tried) -> None:
    found = tried(ran)
    assert asked(found) == [16, 100, 101]
    assert found.search.proved
    assert text.answer(found)[0] == "largest batch that fits: 100"
    assert "; 101 takes " in text.answer(found)[1]


@pytest.mark.parametrize(("outcome", "says"), [("failed", "otherwise than for memory"), ("hung", "without a step")])
def test_what_is_no_memory_is_never_taken_for_it(tried: Tried, outcome: Any, says: str) -> None:
    def trial(batch: int) -> Trial:
        return ran(batch) if batch < 50 else Trial(batch_size=batch, outcome=outcome, words=("ValueError: no",))

    with pytest.raises(FitError) as caught:
        tried(trial)
    assert says in caught.value.message
    assert caught.value.output == ("ValueError: no",)
    if outcome == "failed":
        assert caught.value.remedy == "run it by itself: python train.py --lr 1 --bs 100"


def test_a_flag_that_is_ignored_is_told_after_two_trials(tried: Tried) -> None:
    with pytest.raises(FitError, match="the batch is 32 whatever is asked for") as caught:
        tried(lambda batch: ran(batch, 32))
    assert "--bs does not" in caught.value.remedy


def test_a_flag_that_is_ignored_where_no_batch_is_seen(tried: Tried) -> None:
    seen: list[int] = []

    def trial(batch: int) -> Trial:
        seen.append(batch)
        return replace(ran(batch, 32), seen_batch=None, lines=())

    with pytest.raises(FitError, match="the peak is 1,320,000 B whatever is asked for"):
        tried(trial)
    assert seen == [16, 32, 64]


def test_a_cap_of_the_training_ends_the_search(tried: Tried) -> None:
    found = tried(lambda batch: ran(batch, min(batch, 40)))
    assert asked(found) == [16, 100]
    assert text.answer(found)[0] == "largest batch that fits: 40"
    assert "the training takes no more than 40, though 100 was asked for" in text.answer(found)
    assert not text.as_json(found)["proved"]
    assert text.as_json(found)["why_not"] == found.why


def test_a_batch_that_is_rounded_is_told(tried: Tried) -> None:
    found = tried(lambda batch: ran(batch, max(32, batch // 32 * 32)), FIXED + 130 * EACH)
    assert found.why is not None
    assert found.why.endswith("the training rounds it, and --multiple-of says to what")
    assert text.answer(found)[0] == "largest batch that fits: 128"
    assert tried(lambda batch: ran(batch, batch // 32 * 32), FIXED + 130 * EACH, multiple_of=32).search.proved


def test_accumulated_batches_are_no_disobedience(tried: Tried) -> None:
    found = tried(lambda batch: replace(ran(batch), seen_batch=4 * batch))
    assert found.search.proved
    assert text.answer(found)[0] == "largest batch that fits: 100"


@pytest.mark.parametrize("samples", [60, 64])
def test_data_that_end_are_a_bound_and_no_proof(tried: Tried, samples: int) -> None:
    """Of 60 samples a step of 30 is the largest of which there are two; 32 leave a smaller last one."""

    def trial(batch: int) -> Trial:
        in_a_pass = -(-samples // batch) * batch
        return ran(batch, pass_samples=in_a_pass) if 2 * batch <= samples else short(batch, 1, in_a_pass)

    found = tried(trial)
    assert len(found.trials) <= 4
    assert text.answer(found)[0] == f"largest batch that fits: {16 if samples == 60 else 32}"
    assert not found.search.proved
    assert "a pass has at most 64 samples" in " ".join(text.answer(found))
    assert "by the forecast ~ 100 would fit" in text.answer(found)


def test_memory_below_the_bound_of_the_data_is_proved_all_the_same(tried: Tried) -> None:
    found = tried(lambda batch: ran(batch, pass_samples=240) if batch <= 120 else short(batch, 1), start=16)
    assert (asked(found)[-1], found.search.proved) == (101, True)


def test_a_caught_error_is_not_called_memory_nor_data(tried: Tried) -> None:
    found = tried(
        lambda batch: ran(batch, pass_samples=9600) if batch <= 70 else short(batch, 0, words=("caught: no",))
    )
    said = text.answer(found)
    assert said[0] == "largest batch that fits: 70"
    assert not found.search.proved
    assert any("why 71 ended by itself is not known" in line for line in said)
    assert "  caught: no" in said


def test_the_fastest_is_told_where_each_of_its_steps_was_faster(tried: Tried) -> None:
    def fast(batch: int) -> Trial:
        rates = {"least_per_second": 130.0, "samples_per_second": 140.0, "most_per_second": 150.0}
        return replace(ran(batch), **rates) if batch == 16 else ran(batch)

    found = tried(fast)
    assert text.answer(found)[-1] == "most samples a second: batch 16, 140 against 100"
    assert text.as_json(found)["fastest"] == 16
    noisy = tried(lambda batch: replace(fast(batch), least_per_second=100.0))
    assert text.as_json(noisy)["fastest"] == 100
    assert "most samples a second" not in " ".join(text.answer(noisy))
    assert text.as_json(tried(lambda batch: replace(fast(batch), timed=2)))["fastest"] == 100


@pytest.mark.parametrize(
    ("flag", "command", "becomes"),
    [
        ("--bs", "t.py", "t.py --bs 7"),
        ("--bs", "t.py --bs 3 -x", "t.py --bs 7 -x"),
        ("--bs", "t.py --bs=3 -x", "t.py --bs=7 -x"),
        ("--bs", "t.py --bs 3 --bs=4", "t.py --bs 7 --bs=7"),
        ("--bs", "t.py --bs-max 3", "t.py --bs-max 3 --bs 7"),
        ("data.batch=", "t.py data.batch=3", "t.py data.batch=7"),
        ("data.batch=", "t.py", "t.py data.batch=7"),
        ("--bs={}", "t.py --bs=3", "t.py --bs=7"),
        ("-b{}", "t.py -b3 x", "t.py -b7 x"),
        ("loader:{{bs:{}}}", "t.py", "t.py loader:{{bs:7}}"),
        ("{}", "t.py", "t.py 7"),
    ],
)
def test_where_the_number_goes(flag: str, command: str, becomes: str) -> None:
    assert with_flag(command.split(), flag, 7) == tuple(becomes.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--scenario", "batch-size"], "batch-size has no batch size that can be set alone"),
        (["--scenario", "optimizers"], "optimizers is several trainings in turn; say which, --set optimizer= with sgd"),
        (["--scenario", "image-size"], "say which, --set remedy= with none or image"),
        (["--scenario", "precision", "--what-if"], "say which, --set precision= with fp32"),
        (["--scenario", "batch-size", "--what-if", "--start", "8"], "batch-size has no setting 'batch_size'"),
        (["--patience", "0"], "seconds must be at least 1"),
    ],
)
def test_what_has_no_answer_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], says: str) -> None:
    assert cli.main(["fit", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err


def test_a_trial_of_phases_is_of_the_first_alone() -> None:
    plan = Plan(options=Options(scenario="oom"), steps=9)
    assert plan.at(32).settings["phase_steps"] == 9
    assert plan.words(32) == "memtop --headless --scenario oom --batch-size 32 --steps 9"


def test_a_share_tells_what_fits_from_the_next_and_is_cut_short_far_above() -> None:
    limit = 512 << 20
    assert [text._share(peak, limit) for peak in (536_375_144, 537_059_184, 10 * limit, None)] == [
        "99.91 %",
        "100.04 %",
        "> 999 %",
        "—",
    ]
