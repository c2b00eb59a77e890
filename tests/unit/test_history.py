"""The figures behind the graphs: the highest of a step, held until the next one that was looked into."""

from __future__ import annotations

from memtop.model.history import TENSOR_SUM, History


def test_a_step_longer_than_a_slot_shows_its_highest_until_the_next_step() -> None:
    history = History(seconds=0.5)
    history.add(0.1, {"activations": 100, "gradients": 0}, step=1)
    history.add(0.7, {"activations": 4, "gradients": 50}, step=1)
    history.add(1.6, {"activations": 10, "gradients": 0}, step=2)
    history.add(2.1, {"activations": 10, "gradients": 5}, step=2)
    series = history.series()
    assert series["activations"] == (100, 100, 100, 100, 10)
    assert series["gradients"] == (0, 50, 50, 50, 5)
    assert series[TENSOR_SUM] == (100, 100, 100, 100, 15)


def test_a_record_that_comes_late_counts_from_its_own_slot_on() -> None:
    history = History(seconds=0.5)
    history.add(0.1, {"activations": 1}, step=1)
    history.add(2.1, {"activations": 4}, step=2)
    history.add(1.2, {"activations": 9}, step=2)
    assert history.series()["activations"] == (1, 1, 9, 9, 9)
    history.add(2.6, {"activations": 3}, step=3)
    assert history.series()["activations"] == (1, 1, 9, 9, 9, 9), "the slot that two steps share has the higher"
    history.add(3.1, {"activations": 3}, step=3)
    assert history.series()["activations"][-1] == 3


def test_a_record_older_than_all_slots_is_no_failure() -> None:
    history = History(seconds=0.5, slots=2)
    history.add(5.0, {"activations": 4}, step=2)
    history.add(0.1, {"activations": 9}, step=2)
    assert history.series()["activations"] == (9, 9)


def test_unknown_stays_unknown() -> None:
    history = History(seconds=0.5)
    history.add(0.1, {"activations": None, "gradients": 1}, step=1)
    assert "activations" not in history.series()
