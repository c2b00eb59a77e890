"""The governor on a simulated clock: what watching costs stays within the budget, and nobody waits for long."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memtop.probe.governor import Governor, Slots, Tier

SECOND = 1_000_000_000
WINDOW = 30 * SECOND
GAP = SECOND // 2
DECISIONS = SECOND // 10
AFTER = 1_500_000
"""At most so much is booked for what a look slows down after it."""
ANNOUNCED = 2


@dataclass
class Training:
    """A training on a clock of its own, watched as the probe does it: it looks at a time, not at each step.

    Costs are nanoseconds; `beyond` is what a watched step takes longer than the probe's own timers see.
    """

    governor: Governor
    step_ns: int
    look: Iterator[int]
    deep: Iterator[int]
    analysis: int = 0
    beyond: int = 0
    beside_ns: int = 0
    """What our own thread costs for each record."""
    ask_at: tuple[int, ...] = ()
    now: int = 5 * SECOND
    step: int = 0
    beside: int = 0
    asked: int = 0
    totals: list[tuple[int, int]] = field(default_factory=list)
    """(time, nanoseconds spent within the budget until then)."""
    looks: list[tuple[int, Tier, bool]] = field(default_factory=list)
    """(time, tier, announced) of each watched step."""

    def run(self, seconds: int) -> Training:
        end = self.now + seconds * SECOND
        tier = Tier.GRAPH
        while self.now < end:
            if tier:
                self._watched(tier)
            else:
                self._quiet()
            if self.asked < len(self.ask_at) and self.now >= self.ask_at[self.asked] * SECOND:
                self.governor.ask_deep()
                self.asked += 1
            self.beside += self.beside_ns
            tier = self.governor.may_watch(self.step + 1, self.now, self.beside)
            self._note()
        return self

    def _watched(self, tier: Tier) -> None:
        cost = next(self.deep if tier is Tier.DEEP else self.look)
        wall = self.step_ns + cost + self.beyond
        self.now += wall
        self.step += 1
        self.looks.append((self.now, tier, self.governor.announced))
        self.governor.book(cost, self.now)
        self.governor.settle(self.now, wall)
        if tier is Tier.DEEP:
            self.now += self.analysis
            self.governor.deep_cost(self.analysis, self.now)
        self._note()

    def _quiet(self) -> None:
        look = min(self.governor.next_ns, self.now + DECISIONS)
        count = max(1, -(-(look - self.now) // self.step_ns))
        self.now += count * self.step_ns
        self.step += count
        self.governor.quiet(count, count * self.step_ns, self.governor.thin, self.now)
        self._note()

    def _note(self) -> None:
        self.totals.append((self.now, self.governor.spent_ns))

    @property
    def costs(self) -> list[tuple[int, int]]:
        """(time, nanoseconds) of what was spent within the budget."""
        totals = [(0, 0), *self.totals]
        return [(at, total - before) for (_, before), (at, total) in itertools.pairwise(totals) if total > before]

    @property
    def watched(self) -> list[int]:
        """When a step was watched that nobody announced."""
        return [at for at, _, announced in self.looks if not announced]


def train(budget: float, step_ns: int, look: int, deep: int = 0, **more: int) -> Training:
    hooks = {"hooks_ns": more.pop("hooks_ns", 0), "thin_ns": more.pop("thin_ns", 0)}
    return Training(Governor(budget, **hooks), step_ns, itertools.repeat(look), itertools.repeat(deep), **more)  # type: ignore[arg-type]


def most_in_a_window(costs: list[tuple[int, int]]) -> int:
    """The most that was spent in any 30 seconds."""
    most = spent = start = 0
    for at, cost in costs:
        spent += cost
        while costs[start][0] <= at - WINDOW:
            spent -= costs[start][1]
            start += 1
        most = max(most, spent)
    return most


@pytest.mark.parametrize("budget", [0.001, 0.01])
@pytest.mark.parametrize("cost", [100_000, 1_000_000, 20_000_000, 200_000_000])
@pytest.mark.parametrize("step", [5_000, 300_000, 20_000_000, SECOND, 5 * SECOND])
def test_the_budget_holds_in_every_window(budget: float, cost: int, step: int) -> None:
    training = train(budget, step, cost, deep=3 * cost, analysis=cost).run(200)
    # The first look of its kind can't be foretold; no other goes beyond.
    surprise = cost + AFTER if cost > budget * WINDOW else 0
    assert most_in_a_window(training.costs) <= budget * WINDOW + surprise
    assert training.watched


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_the_budget_holds_whatever_happens(data: st.DataObject) -> None:
    """Random steps, costs and asks: only what one look costs beyond what was foretold of it can go over."""
    step = data.draw(st.sampled_from([5_000, 80_000, 1_000_000, 30_000_000, SECOND, 5 * SECOND]), "step")
    budget = data.draw(st.sampled_from([0.002, 0.01, 0.1]), "budget")
    looks = data.draw(st.lists(st.integers(10_000, 50_000_000), min_size=1, max_size=8), "looks")
    deeps = data.draw(st.lists(st.integers(1_000_000, 400_000_000), min_size=1, max_size=4), "deep looks")
    asks = data.draw(st.lists(st.integers(30, 110), max_size=5), "asks")
    analysis = data.draw(st.integers(0, 100_000_000), "analysis")
    hooks = data.draw(st.integers(0, 400), "hooks")
    training = Training(
        Governor(budget, hooks_ns=hooks, thin_ns=hooks / 4),
        step,
        itertools.cycle(looks),
        itertools.cycle(deeps),
        analysis=analysis,
        ask_at=tuple(sorted(asks)),
    ).run(120)
    hooks_alone = most_in_a_window(train(budget, step, 0, hooks_ns=hooks, thin_ns=hooks // 4).run(60).costs)
    surprise = max(max(looks) + AFTER, max(deeps) + analysis)
    assert most_in_a_window(training.costs) <= max(budget * WINDOW, hooks_alone) + surprise
    asked = [tier for _, tier, announced in training.looks[ANNOUNCED:] if announced]
    assert asked == [Tier.DEEP] * len(asked)
    assert min(1, len(asks)) <= len(asked) <= len(asks)


@pytest.mark.parametrize("step", [5_000, 300_000, 20_000_000])
def test_it_watches_once_a_second_where_the_budget_allows(step: int) -> None:
    for cost in (100_000, 1_000_000, 6_000_000):
        times = train(0.01, step, cost).run(60).watched
        assert max(b - a for a, b in itertools.pairwise(times)) <= SECOND
        assert min(b - a for a, b in itertools.pairwise(times)) >= GAP


def test_of_steps_of_five_seconds_every_second_one_is_watched() -> None:
    """The one between is what a watched one is compared with."""
    training = train(0.01, 5 * SECOND, 2_000_000).run(120)
    assert len(training.watched) >= (training.step - ANNOUNCED) // 2


def test_steps_of_five_microseconds_leave_room_for_looks() -> None:
    """Hooks in Python alone would be over the budget; in C they are within it."""
    training = train(0.01, 5_000, 100_000, hooks_ns=400, thin_ns=20).run(120)
    assert training.governor.thin
    assert len(training.watched) > 60
    assert most_in_a_window(training.costs) <= 0.01 * WINDOW
    hooks = sum(cost for _, cost in training.costs) - 3 * 100_000 * len(training.watched)
    assert hooks >= 20 * training.step


def test_where_hooks_alone_take_the_budget_nothing_is_watched() -> None:
    training = train(0.01, 5_000, 100_000, hooks_ns=400, thin_ns=100).run(120)
    assert len(training.watched) <= 2
    assert training.governor.spent_ns >= 0.02 * 115 * SECOND


@pytest.mark.parametrize(("step", "thin"), [(5_000, True), (SECOND // 1000, True), (SECOND // 10, False)])
def test_hooks_are_thinned_where_they_weigh(step: int, thin: bool) -> None:
    assert train(0.01, step, 0, hooks_ns=400, thin_ns=60).run(2).governor.thin is thin


def test_what_was_not_spent_is_not_saved_up() -> None:
    """Ten cheap minutes, then looks that are ten times dearer: no window holds more for the minutes before."""
    cheap = itertools.chain(itertools.repeat(10_000, 1200), itertools.repeat(100_000_000))
    training = Training(Governor(0.01), 1_000_000, cheap, itertools.repeat(0)).run(900)
    assert most_in_a_window(training.costs) <= 0.01 * WINDOW + 100_000_000 + AFTER


def test_the_second_step_is_watched_deep_and_both_are_announced() -> None:
    training = train(0.01, SECOND, 1_000_000, deep=70_000_000, analysis=30_000_000).run(10)
    assert [look[1:] for look in training.looks[:3]] == [
        (Tier.GRAPH, True),
        (Tier.DEEP, True),
        (Tier.GRAPH, False),
    ]
    assert training.governor.announced_ns == 1_000_000 + 70_000_000 + 30_000_000
    assert training.governor.looks == 1


def test_an_announced_look_that_disturbs_is_known_by_its_neighbours() -> None:
    """What the probe's own timers did not see of the second step comes to light with the first unwatched one."""
    training = train(0.01, SECOND, 0, deep=70_000_000, beyond=25_000_000).run(10)
    assert training.governor.announced_ns == 95_000_000


def test_deep_looks_come_again_within_half_of_the_budget() -> None:
    training = train(0.01, 10_000_000, 1_000_000, deep=100_000_000, analysis=20_000_000).run(200)
    deep = [at for at, tier, announced in training.looks if tier is Tier.DEEP and not announced]
    assert len(deep) >= 4
    assert all(b - a >= WINDOW for a, b in itertools.pairwise(deep))
    assert most_in_a_window(training.costs) <= 0.01 * WINDOW
    assert training.governor.looks == 1 + len(deep)


@pytest.mark.parametrize("deep", [151_000_000, 2 * SECOND])
def test_deep_looks_beyond_half_of_the_budget_come_when_asked_for_alone(deep: int) -> None:
    training = train(0.01, 10_000_000, 1_000_000, deep=deep, ask_at=(50,)).run(120)  # type: ignore[arg-type]
    assert [announced for _, tier, announced in training.looks if tier is Tier.DEEP] == [True, True]
    assert training.governor.announced_ns >= 2 * deep
    assert most_in_a_window(training.costs) <= 0.01 * WINDOW


def test_what_disturbs_beyond_our_timers_is_paid_for() -> None:
    seen, disturbing = (train(0.01, 1_000_000, 4_000_000, beyond=beyond).run(120) for beyond in (0, 8_000_000))
    assert len(disturbing.watched) < len(seen.watched) / 2
    assert disturbing.governor.spent_ns >= 0.9 * 12_000_000 * len(disturbing.watched)


def test_a_slow_step_of_the_persons_own_is_not_our_cost() -> None:
    governor = train(0.01, 10_000_000, 100_000).run(5).governor
    assert governor.next_ns
    before = governor.spent_ns
    while not governor.may_watch(10_000, governor.next_ns, 0):
        pass
    governor.book(100_000, governor.next_ns)
    governor.settle(governor.next_ns + SECOND, SECOND)
    assert governor.spent_ns - before <= 400_000


def test_our_own_threads_time_counts() -> None:
    quiet, busy = (train(0.01, 1_000_000, 1_000_000, beside_ns=beside).run(120) for beside in (0, 700_000))
    assert len(busy.watched) < 0.8 * len(quiet.watched)
    assert most_in_a_window(busy.costs) <= 0.01 * WINDOW
    assert busy.governor.spent_ns >= busy.beside - 20 * 700_000


@pytest.mark.parametrize("budget", [0.0, -1.0])
def test_without_a_budget_only_what_is_announced_is_watched(budget: float) -> None:
    training = train(budget, 300_000, 100_000, deep=5, ask_at=(20,)).run(30)  # type: ignore[arg-type]
    assert [look[1:] for look in training.looks] == [(Tier.GRAPH, True), (Tier.DEEP, True), (Tier.DEEP, True)]
    assert training.governor.spent_ns == 0
    assert training.governor.announced_ns == 100_000 + 2 * 5


def test_slots_forget_after_thirty_seconds() -> None:
    slots = Slots()
    slots.add(5, 100 * SECOND)
    slots.add(7, 115 * SECOND)
    assert [slots.total(at * SECOND) for at in (115, 130, 131, 145, 146, 1000)] == [12, 12, 7, 7, 0, 0]


@pytest.mark.parametrize("cost", [20_000_000, 90_000_000])
def test_censuses_are_paid_for_before_they_are_taken_and_stay_within_their_share(cost: int) -> None:
    governor, now, taken = Governor(0.01), 5 * SECOND, []
    assert not governor.may_count(now, cost), "nothing has been watched yet"
    for step in range(1, 3000):
        now += SECOND // 10
        governor.quiet(1, SECOND // 10, thin=False, now_ns=now)
        governor.may_watch(step, now, 0)
        if governor.may_count(now, cost):
            governor.counted(cost, now)
            taken.append(now)
    assert 3 < len(taken) <= 0.25 * 0.01 * 300 * SECOND / cost + 1
    assert governor.spent_ns == cost * len(taken)
    assert most_in_a_window([(at, cost) for at in taken]) <= 0.01 * WINDOW


def test_no_budget_no_census() -> None:
    governor = Governor(0.0)
    governor.may_watch(3, 5 * SECOND, 0)
    assert not governor.may_count(500 * SECOND, 1)


def test_a_look_that_waits_for_a_watched_step_comes_with_the_next_one() -> None:
    governor = Governor(0.01)
    assert [governor.may_watch(step, step * SECOND, 0) for step in (1, 2)] == [Tier.GRAPH, Tier.DEEP]
    governor.settle(2 * SECOND, SECOND // 100)
    governor.prepare()
    assert governor.may_watch(3, 2 * SECOND, 0) is Tier.DEEP
    assert not governor.announced
    governor.settle(2 * SECOND, SECOND // 100)
    assert governor.may_watch(4, 2 * SECOND, 0) is not Tier.DEEP
