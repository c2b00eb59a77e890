"""A lesson follows what a person does, and says what was measured: what comes true, what does not, what is unknown."""

from __future__ import annotations

from typing import Any

import pytest

from memtop.launcher import manifests
from memtop.launcher.manifests import Manifest, ManifestError
from memtop.model.claims import Step, claim
from memtop.model.lessons import Book, Progress, Run, State, _holds, changes, progress
from memtop.model.lessons_text import checked, compared, differing
from memtop.model.records import EndRecord, MemoryRecord, RunRecord, Setting

MIB = 2**20
DOUBLE = Step(name="double", do="Press +", when="batch_size == 2 * was_batch_size", why="Each sample has its own.")
SGD = Step(name="sgd", do="Press o", when="optimizer == 'sgd'", why="Nothing is kept.")
TWICE = claim(
    {"text": "Twice", "category": "activations", "factor": 2, "tolerance": 0.01, "than": {}, "step": "double"}
)
SAME = claim({"text": "Same", "category": "parameters", "factor": 1, "than": {}, "step": "double"})
GRADIENTS = claim({"text": "As many", "category": "gradients", "factor": 1, "of": "parameters", "step": "sgd"})


def run(activations: int | None = 12 * MIB, parameters: int = MIB, **settings: Setting) -> Run:
    settings = {"batch_size": 64, "optimizer": "adam", "steps": 0, **settings}
    figures = {"parameters": parameters, "gradients": parameters, "activations": activations, "buffers": 0}
    moments = ("forward_end", "backward_end", "step_end")
    return Run(scenario="cnn", settings=settings, bytes={("cpu", moment): figures for moment in moments}, device="cpu")


def only(step: Step, *runs: Run) -> Progress:
    (found,) = progress([step], [TWICE, SAME, GRADIENTS], runs)
    return found


def test_a_step_waits_for_what_it_asks_for() -> None:
    assert only(DOUBLE).state is State.TO_DO
    assert only(DOUBLE, run()).state is State.TO_DO
    assert [check.claim for check in only(DOUBLE, run()).checks] == [TWICE, SAME]


def test_a_claim_that_comes_true() -> None:
    found = only(DOUBLE, run(), run(24 * MIB, batch_size=128))
    assert found.state is State.EXPECTED
    assert [checked(check) for check in found.checks] == [
        "activations from 12.0 MiB to 24.0 MiB: 2.00 ×",
        "parameters did not move: 1.00 MiB",
    ]


def test_a_claim_that_comes_out_otherwise_says_what_was_expected() -> None:
    found = only(DOUBLE, run(), run(18 * MIB, batch_size=128))
    assert found.state is State.OTHERWISE
    assert checked(found.checks[0]) == "activations from 12.0 MiB to 18.0 MiB: 1.50 ×; 2 × were expected, 24.0 MiB"


def test_unknown_figures_are_neither() -> None:
    found = only(DOUBLE, run(), run(None, batch_size=128))
    assert found.state is State.MEASURING
    assert checked(found.checks[0]) == "activations: not measured yet"
    nothing = only(DOUBLE, run(0), run(0, batch_size=128))
    assert nothing.checks[0].state is State.MEASURING


def test_nothing_is_compared_that_differs_in_more_than_the_step_is_about() -> None:
    assert only(DOUBLE, run(), run(24 * MIB, batch_size=128, optimizer="sgd")).state is State.TO_DO
    assert only(DOUBLE, run(), run(24 * MIB, batch_size=128, steps=500)).state is State.EXPECTED


def test_which_of_two_runs_came_first_does_not_matter() -> None:
    assert only(DOUBLE, run(24 * MIB, batch_size=128), run(optimizer="sgd"), run()).state is State.EXPECTED


def test_a_step_of_one_run() -> None:
    found = only(SGD, run(), run(optimizer="sgd"))
    assert found.state is State.EXPECTED
    assert found.before is None
    assert checked(found.checks[0]) == "gradients 1.00 MiB, parameters 1.00 MiB: 1.00 ×"


def test_a_step_without_claims_is_done_when_it_was_measured() -> None:
    bare = Step(name="bare", do="Press d", when="looks >= 2", why="")
    one = run()
    assert only(bare, one).state is State.TO_DO
    one.deep |= {2, 90}
    assert only(bare, one).state is State.DONE


def test_what_the_person_did_and_what_it_did() -> None:
    assert compared(run(), run(24 * MIB, batch_size=128)) == [
        "You doubled the batch (64 → 128).",
        "Activations went from 12.0 MiB to 24.0 MiB (2.00 ×).",
        "Parameters, gradients did not move.",
    ]
    assert compared(run(), run(optimizer="sgd"))[0] == "You changed optimizer from adam to sgd."
    assert compared(run(), run())[0] == "You changed nothing that counts."
    assert compared(run(), Run(scenario="cnn", settings={"batch_size": 128})) == []


def test_why_a_claim_may_not_hold_here() -> None:
    found = only(DOUBLE, run(precision="bf16"), run(18 * MIB, batch_size=128, precision="bf16"))
    assert found.after is not None
    why = differing(found.checks[0], found.after, {"precision": "fp32", "batch_size": 64}, DOUBLE.names)
    assert why == "the claim is made for other settings: precision is bf16, not fp32"
    assert differing(found.checks[0], found.after, {"precision": "bf16"}, DOUBLE.names) is None


def memory(step: int, moment: Any, activations: int, **more: Any) -> MemoryRecord:
    bytes_ = {"parameters": MIB, "activations": activations}
    fields: dict[str, Any] = {
        "t": 1.0, "device": "cpu", "step": step, "moment": moment, "tier": "deep", "sources": {}, "bytes": bytes_,
        "where": None, "allocated": None, "reserved": None, "device_total": None, "notes": [],
    }  # fmt: skip
    return MemoryRecord(**{**fields, **more})


def begin(**settings: Setting) -> RunRecord:
    return RunRecord(
        t=0.0, memtop="0", command=[], scenario="cnn", settings=settings, host=None, gpus=[], started_at=""
    )


def end(code: int | None) -> EndRecord:
    return EndRecord(
        t=9.0, exit_code=code, signal=None, steps=9, seconds=9.0, peak={}, dropped=0, overhead_percent=None
    )


def test_a_book_keeps_the_second_step_and_begins_anew_with_each_run() -> None:
    book = Book()
    book.take(memory(2, "forward_end", 1))  # before any run: nobody's
    book.take(begin(batch_size=64))
    for step in (1, 2, 3):
        book.take(memory(step, "forward_end", step * MIB))
    book.take(memory(2, "step_end", 5, rank=1))
    book.take(end(1))
    book.take(begin(batch_size=128))
    first, second = book.runs
    assert first.read("activations", "forward_end") == 2 * MIB
    assert first.read("activations", "step_end") is None
    assert (first.failed, second.failed) == (True, False)
    assert first.deep == {2, 3}
    assert second.read("activations", "forward_end") is None
    assert changes(first, second) == {"batch_size": (64, 128)}


def test_a_run_is_read_on_the_device_that_holds_its_parameters() -> None:
    book = Book()
    book.take(begin())
    book.take(memory(2, "forward_end", 8, bytes={"parameters": 0, "activations": 8}))
    book.take(memory(2, "forward_end", 9, device="cuda:0"))
    assert book.runs[0].read("activations", "forward_end") == 9


@pytest.mark.parametrize("name", manifests.names())
def test_each_claim_of_a_step_is_about_runs_that_do_the_step(name: str) -> None:
    """A claim's own settings, which a log is held against, do what its step asks a person to do."""
    manifest = manifests.load(name)
    assert manifest.steps
    steps = {step.name: step for step in manifest.steps}
    for each in manifest.claims:
        if each.step is None:
            continue
        step = steps[each.step]
        after = Run(scenario=name, settings=manifests.resolve(manifest, each.settings))
        before = None if each.than is None else Run(scenario=name, settings=manifests.resolve(manifest, each.than))
        assert step.compares == (before is not None), each.text
        assert _holds(step, before, after), each.text
        assert before is None or set(changes(before, after)) <= step.names, each.text


def test_a_manifest_that_contradicts_itself_is_refused() -> None:
    good = manifests.load("cnn")
    fields = {name: getattr(good, name) for name in Manifest.__slots__}
    lost = claim({"text": "Lost", "category": "inputs", "factor": 1, "step": "nowhere"})
    with pytest.raises(ValueError, match="nowhere"):
        manifests._whole(Manifest(**{**fields, "claims": (lost,)}))
    bad = Step(name="bad", do="", when="no_such_setting == 1", why="")
    with pytest.raises(ValueError, match="no_such_setting"):
        manifests._whole(Manifest(**{**fields, "claims": (), "steps": (bad,)}))
    assert issubclass(ManifestError, ValueError)
