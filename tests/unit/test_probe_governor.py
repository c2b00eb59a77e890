"""The governor on a simulated clock: what watching costs stays within the budget, and nobody waits for long."""

from __future__ import annotations

import itertools

import pytest

from memtop.probe.governor import Governor

SECOND = 1_000_000_000
WINDOW = 30 * SECOND
ANNOUNCED = 2
GAP = SECOND // 10


def simulate(budget: float, step_ns: int, costs: list[int], seconds: int) -> list[tuple[int, int]]:
    """Train for so long; (time, cost) of each watched step after the announced ones. `costs` come one after another.

    Steps on which nothing is decided are skipped as the probe skips them: it looks at a time, not at each step.
    """
    governor, now, step, watched = Governor(budget), 5 * SECOND, 0, []
    end = now + seconds * SECOND
    while now < end:
        step += 1
        if governor.may_watch(step, now, 0):
            cost = costs[len(watched) * len(costs) // 4000 % len(costs)] if len(costs) > 1 else costs[0]
            now += step_ns + cost
            governor.book(cost, True, step)
            governor.settle(now)
            if step > ANNOUNCED:
                watched.append((now, cost))
        else:
            look = min(governor.next_ns, now + GAP)
            now += step_ns * max(1, -(-(look - now) // step_ns))
            step += 1
    return watched


def most_in_a_window(watched: list[tuple[int, int]]) -> int:
    """The most that was spent in any 30 seconds."""
    most = spent = start = 0
    for at, cost in watched:
        spent += cost
        while watched[start][0] <= at - WINDOW:
            spent -= watched[start][1]
            start += 1
        most = max(most, spent)
    return most


@pytest.mark.parametrize("budget", [0.001, 0.01, 0.05])
@pytest.mark.parametrize("cost", [100_000, 1_000_000, 20_000_000, 200_000_000])
@pytest.mark.parametrize("step", [5_000, 300_000, 20_000_000, SECOND, 5 * SECOND])
def test_the_budget_holds_in_every_window(budget: float, cost: int, step: int) -> None:
    watched = simulate(budget, step, [cost], 600)
    # A window may begin with one watched step that is paid for after it.
    assert most_in_a_window(watched) <= budget * WINDOW + cost
    assert watched


@pytest.mark.parametrize("step", [5_000, 300_000, 20_000_000])
def test_it_watches_once_a_second_where_the_budget_allows(step: int) -> None:
    for cost in (100_000, 1_000_000, 8_000_000):
        times = [at for at, _ in simulate(0.01, step, [cost], 60)]
        assert max(b - a for a, b in itertools.pairwise(times)) <= SECOND
        assert min(b - a for a, b in itertools.pairwise(times)) >= GAP


def test_what_was_not_spent_is_not_saved_up() -> None:
    """Ten cheap minutes, in which the hooks cost next to nothing; then the hooks alone take more than the budget."""
    governor, now = Governor(0.01), SECOND
    assert not governor.may_watch(3, now, 0)
    for _ in range(6000):
        now += GAP
        governor.may_watch(10, now, 0)
    spent = watched = 0
    for _ in range(300):
        now += GAP
        governor.book(GAP // 50, False, 10)
        spent += GAP // 50
        if governor.may_watch(10, now, 0):
            watched += 1
            governor.book(100_000, True, 10)
            governor.settle(now)
    assert spent > 0.01 * 300 * GAP
    assert watched <= 2


def test_our_own_threads_time_counts() -> None:
    governor = Governor(0.01)
    assert not governor.may_watch(3, SECOND, 7)
    assert not governor.may_watch(4, 2 * SECOND, 7 + SECOND)
    assert governor.spent(7 + SECOND) == SECOND
    assert governor.next_ns >= 2 * SECOND + 90 * SECOND


@pytest.mark.parametrize("budget", [0.0, -1.0])
def test_without_a_budget_only_the_announced_steps_are_watched(budget: float) -> None:
    governor = Governor(budget)
    seen = [governor.may_watch(step, step * SECOND, 0) for step in range(1, 1000)]
    assert seen == [True] * ANNOUNCED + [False] * 997
    governor.book(5, True, 1)
    governor.settle(SECOND)
    assert (governor.spent(0), governor.announced_ns) == (0, 5)
    assert simulate(budget, 300_000, [100_000], 30) == []
