"""A run in a few lines: what stays when the terminal is narrow, and what is said of an end."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from memtop.model import categories, summary
from memtop.model.snapshot import NO_MORE, DeepLook, Phase
from tests.unit import sample_records as sample
from tests.unit.fake_session import snapshot, with_log


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (9, "mlp-mnist"),
        (26, "mlp-mnist  step 20/200"),
        (60, "mlp-mnist  step 20/200  tensors 398 KiB, highest 398 KiB"),
        (80, "mlp-mnist  step 20/200  tensors 398 KiB, highest 398 KiB  52.1 step/s"),
        (99, "mlp-mnist  step 20/200  tensors 398 KiB, highest 398 KiB  52.1 step/s  loss 0.4123  3m12s to go"),
        (4, "mlp…"),
    ],
)
def test_the_least_needed_leaves_first(width: int, line: str) -> None:
    assert summary.progress(snapshot(), width) == line


def test_before_the_first_step_it_says_what_it_waits_for() -> None:
    waiting = snapshot(phase=Phase.IMPORTING, phase_text="importing torch ... 1.2 s", step=None)
    assert summary.progress(waiting, 80) == "mlp-mnist  importing torch ... 1.2 s"
    assert summary.progress(snapshot(phase=Phase.LOST, phase_text="its probe is gone"), 80).endswith(
        "its probe is gone"
    )


def test_a_pause_and_unknown_figures_are_said() -> None:
    paused = snapshot(phase=Phase.PAUSED, now=None, highest=None, steps_per_second=None, total_steps=None, eta=None)
    line = summary.progress(paused, 99)
    assert line == "mlp-mnist  paused  step 20  tensors —, highest —  — step/s  loss 0.4123  pass ends at step 938"


def test_hostile_words_do_not_reach_the_terminal() -> None:
    evil = snapshot(title="a\x1b]0;x\x07b", phase=Phase.ENDED, logs=with_log("\x1b[2Jrun.jsonl"))
    text = summary.progress(evil, 80) + "".join(summary.lines(evil, sample.end()))
    assert text.isprintable()


def peak(**where: object) -> str:
    record = sample.memory(moment="peak", tier="deep", bytes={"activations": 45_200_000}, where=where or None)
    return summary.lines(snapshot(deep=DeepLook(t=1.0, step=2, peak=record)), sample.end())[2]


def test_the_peak_of_the_last_deep_look_says_where_it_was() -> None:
    text = "peak 43.1 MiB in backward, conv3 (aten.convolution_backward), train.py:57 loss.backward()"
    assert peak(**sample.WHERE) == text
    assert peak(**(sample.WHERE | {"line": "/home/me/train.py:57"})) == text, "a path is too long for a line"
    assert len(summary.lines(snapshot(), sample.end())) == 2, "without a look nothing is said of a peak"


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ({}, ""),
        ({"phase": "optimizer", "module": None, "operator": "aten.add"}, " in optimizer, aten.add"),
        ({"phase": "forward", "module": "a.b", "line": "t.py:1"}, " in forward, a.b, t.py:1"),
        ({"phase": "\x1b[2Jforward", "text": "x\ny", "module": 3}, " in forward, 3, x y"),
    ],
)
def test_what_is_not_known_of_the_peak_is_left_out(where: dict[str, object], text: str) -> None:
    assert peak(**where) == "peak 43.1 MiB" + text


def test_unknown_is_not_zero() -> None:
    assert summary.tensors({}) is None
    assert summary.tensors(dict.fromkeys(categories.TENSORS)) is None
    assert summary.tensors({"parameters": 4, "activations": None, "free": 100}) == 4


def test_ends() -> None:
    def first(end: sample.EndRecord | None) -> str:
        return summary.lines(snapshot(), end)[0].split(", ")[0]

    assert first(sample.end(exit_code=3)) == "mlp-mnist: exit status 3"
    assert first(sample.end(exit_code=None, signal=11)) == "mlp-mnist: ended by signal 11"
    assert first(sample.end(exit_code=None)) == "mlp-mnist: exit status unknown"
    assert first(None) == "mlp-mnist: its end was not seen"
    left = summary.lines(replace(snapshot(), phase_text=NO_MORE), sample.end(exit_code=None))[0]
    assert left.startswith("mlp-mnist: watched no more, the process itself goes on")


def test_what_goes_on_is_not_told_as_lost() -> None:
    assert summary.lines(snapshot(), None, goes_on=True)[0].startswith("mlp-mnist: still running")
