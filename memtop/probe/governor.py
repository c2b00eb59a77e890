"""What watching has cost so far, and whether the next step may be watched.

Every action of the probe on the training thread is timed by its processor time: being descheduled there is no cost of
ours, and nothing we do there waits. Our own thread counts by its processor time too, for it may hold the interpreter
meanwhile. What timers of our own can't see (caches gone cold, a look that disturbs what follows) is seen from outside:
a watched step's wall time less that of its unwatched neighbours. The larger of the two is what a look cost. One pair of
steps says little, so the difference is averaged over looks, and no single one counts for more than a few times what
our timers say. What a look slows down in the steps after it drowns in their own spread: it is booked at a fixed rate.

The first two steps are watched without asking, the second of them deep: a person should see everything at once, and
the first has no optimizer state yet. They, and a deep look that was asked for, are announced and stand outside the
budget. Everything else is kept within `budget` times any 30 s. What a look will cost is foretold by the ones before
it; only the first one of its kind can surprise.
"""

from __future__ import annotations

from enum import IntEnum

_SECOND = 1_000_000_000
_WINDOW = 30
"""Seconds over which the budget holds, whichever 30 s one takes."""
_GAP_NS = 500_000_000
"""At most two watched steps a second: a screen is drawn no more often."""
_AGAIN_NS = 100_000_000
"""Time until the next decision where a look was due and too dear."""
_DEEP_GAP_NS = _WINDOW * _SECOND
"""At most one deep look that nobody asked for in this time."""
_DEEP_SHARE = 0.5
"""Of the budget: what such deep looks may take."""
_COUNT_SHARE = 0.25
"""Of the budget: what searches of all the process's tensors may take, each being paid for before it begins."""
_HOOKS_SHARE = 0.25
"""Of the budget: where the hooks of unwatched steps take more, they are thinned."""
_OUTLIER = 4
"""A step's time differs from its neighbours' for many reasons: no more than this many times our own timers is ours."""
_COLD = 12
"""How much more the hooks cost between whole steps than when called in a row: other work drives them out of the caches.
Measured on torch 2.13 and CPython 3.11, steps of 1 ms with and without them in turn: 2 to 5 us for 0.25."""
_COLD_NS = 100_000
"""Steps as long as this find the hooks cold, shorter ones by the square of their share; at 6 us nothing was seen."""
_AFTER = 2
"""How much a look slows down the steps after it, in times of its own work. Measured on torch 2.13, CPU, steps of 1 ms
in turn with and without looks: 2.1 ms in all for each look of 0.7 ms, at 4 and at 9 looks a second."""
_AFTER_NS = 1_500_000
"""No more than this for one look: what it displaced is back by then, however long it took."""
_ANNOUNCED = 2
"""Steps watched at the start whatever they cost; the last of them deep."""
_NEVER = 1 << 62


class Tier(IntEnum):
    """How closely a step is watched."""

    NONE = 0
    GRAPH = 1
    DEEP = 2


class Slots:
    """Nanoseconds spent by second of the clock, as far back as any 30 s that end now can reach."""

    def __init__(self) -> None:
        self._spent = [0] * (_WINDOW + 1)
        self._newest = 0

    def add(self, cost_ns: int, now_ns: int) -> None:
        """`cost_ns` were spent at `now_ns`."""
        self._advance(now_ns)
        self._spent[self._newest % len(self._spent)] += cost_ns

    def total(self, now_ns: int) -> int:
        """An upper bound of what any 30 s up to `now_ns` hold: the running second and the 30 before it."""
        self._advance(now_ns)
        return sum(self._spent)

    def _advance(self, now_ns: int) -> None:
        second = now_ns // _SECOND
        for passed in range(max(self._newest + 1, second - _WINDOW), second + 1):
            self._spent[passed % len(self._spent)] = 0
        self._newest = max(self._newest, second)


class Governor:
    """Budget in, permission out. `budget` is a fraction of training time (0.01 is 1 %).

    `hooks_ns` and `thin_ns`: what the hooks of one unwatched step cost when called in a row, whole and thinned.
    """

    def __init__(self, budget: float, hooks_ns: float = 0, thin_ns: float = 0) -> None:
        self._budget = budget
        self._prices = {False: hooks_ns, True: thin_ns}
        self._call_ns = 0.0
        self._looks = Slots()
        self._rest = Slots()
        self._since_ns = 0
        self._tier = Tier.GRAPH
        self._asked = self._prepared = False
        self._own_ns = 0
        self._beside_ns = 0
        self._beside_free_ns = 0
        self._look_ns = 0
        self._beyond_ns = 0.0
        self._deep_at = 0
        self._count_at = self._count_ns = 0
        self._deep_wall: int | None = None
        self._deep_own = self._deep_more = 0
        self._deep_announced = self._unbooked = False
        self.next_ns = 0
        """Nothing is decided before this time (`time.monotonic_ns()`)."""
        self.announced = True
        """Whether the running step stands outside the budget, as the first does."""
        self.spent_ns = 0
        """Spent within the budget, nanoseconds."""
        self.announced_ns = 0
        """Spent on announced steps, nanoseconds: outside the budget."""
        self.looks = 0
        """Deep looks taken."""
        self.usual_ns = 0.0
        """Time of an unwatched step, a moving mean; 0 before the first."""

    # -- what was spent ----------------------------------------------------------------------------------------------

    def book(self, cost_ns: int, now_ns: int) -> None:
        """`cost_ns` of processor time went into one action of ours on the training thread, within a watched step."""
        self._own_ns += cost_ns
        if self.announced:
            self.announced_ns += cost_ns
        else:
            self._spend(self._looks, cost_ns, now_ns)

    def book_between(self, cost_ns: int, now_ns: int, early: bool = False) -> None:
        """The same between two steps: reporting, obeying, deciding. `early`: after one of the first steps."""
        if self.announced or early:
            self.announced_ns += cost_ns
        else:
            self._spend(self._rest, cost_ns, now_ns)

    def price(self, cost_ns: float) -> None:
        """What a step of the newest kind pays for being seen, beside the hooks: the wrap of its modules' calls."""
        self._call_ns = cost_ns

    def quiet(self, count: int, elapsed_ns: int, thin: bool, now_ns: int) -> None:
        """`count` unwatched steps have ended, which took `elapsed_ns`; their hooks were thinned or whole."""
        mean = elapsed_ns / count
        self.usual_ns = mean if not self.usual_ns else self.usual_ns + (mean - self.usual_ns) / 4
        self._spend(self._rest, int(count * (self._price(thin) + self._call_ns)), now_ns)
        if self._unbooked and self._deep_wall is not None:
            # An announced deep look from before the first unwatched step: now there is something to compare it with.
            self._unbooked = False
            self.announced_ns += max(0, self._deep_wall - int(self.usual_ns) - self._deep_own)

    def settle(self, now_ns: int, wall_ns: int) -> None:
        """A watched step has ended after `wall_ns`, our own work included: what it cost decides when the next comes."""
        own, self._own_ns = self._own_ns, 0
        if self._tier is Tier.DEEP:
            self._settle_deep(own, wall_ns, now_ns)
        elif self._tier is Tier.GRAPH and not self.announced:
            self._settle_graph(own, wall_ns, now_ns)
        if self.announced:
            self._beside_free_ns = now_ns + _SECOND
        self._tier, self.announced = Tier.NONE, False
        self._pace(now_ns)

    def deep_cost(self, cost_ns: int, now_ns: int) -> None:
        """Working out what the newest deep look saw took `cost_ns`, after the step. Not to be booked otherwise."""
        self._deep_more += cost_ns
        if self._deep_announced:
            self.announced_ns += cost_ns
        else:
            self._spend(self._looks, cost_ns, now_ns)

    @property
    def too_dear(self) -> bool:
        """Whether what each step pays for being seen is more than the whole budget."""
        return self._call_ns > self._budget * self.usual_ns > 0

    @property
    def thin(self) -> bool:
        """Whether the hooks of unwatched steps cost so much of the budget that they are better thinned."""
        return self._price(False) > _HOOKS_SHARE * self._budget * self.usual_ns > 0

    def _price(self, thin: bool) -> float:
        return self._prices[thin] * (1 + (_COLD - 1) * min(1.0, self.usual_ns / _COLD_NS) ** 2)

    def _spend(self, slots: Slots, cost_ns: int, now_ns: int) -> None:
        self.spent_ns += cost_ns
        slots.add(cost_ns, now_ns)

    def _settle_graph(self, own: int, wall_ns: int, now_ns: int) -> None:
        if self.usual_ns:
            beyond = max(-_OUTLIER * own, min(_OUTLIER * own, wall_ns - self.usual_ns - own))
            self._beyond_ns += (beyond - self._beyond_ns) / 8
        unseen = max(0, int(self._beyond_ns)) + min(_AFTER * own, _AFTER_NS)
        self._spend(self._looks, unseen, now_ns)
        self._look_ns = own + unseen

    def _settle_deep(self, own: int, wall_ns: int, now_ns: int) -> None:
        self._deep_at, self._deep_wall, self._deep_own, self._deep_more = now_ns, wall_ns, own, 0
        self.looks += 1
        beyond = max(0, wall_ns - int(self.usual_ns) - own) if self.usual_ns else 0
        self._deep_announced = self.announced
        self._unbooked = self.announced and not self.usual_ns
        if self.announced:
            self.announced_ns += beyond
        else:
            self._spend(self._looks, beyond, now_ns)

    # -- what may be spent -------------------------------------------------------------------------------------------

    def ask_deep(self) -> None:
        """The next step is watched deep, and announced."""
        self._asked, self.next_ns = True, 0

    def declined(self) -> None:
        """The deep look that was granted can't be taken: the step is watched as any other."""
        self._tier = Tier.GRAPH

    def prepare(self) -> None:
        """The deep look that was granted waits for one step, which is watched as any other."""
        self._tier, self._prepared = Tier.GRAPH, True

    def may_watch(self, step: int, now_ns: int, beside_ns: int) -> Tier:
        """How closely `step`, which begins now, is watched. `beside_ns`: what our own thread has cost so far."""
        self._book_beside(beside_ns, now_ns)
        self.announced = self._asked or step <= _ANNOUNCED
        if self.announced:
            self._tier = Tier.DEEP if self._asked or step == _ANNOUNCED else Tier.GRAPH
            self._asked = False
        else:
            self._tier = Tier.DEEP if self._prepared else self._affordable(now_ns)
        self._prepared = False
        return self._tier

    def may_count(self, now_ns: int, guess_ns: int) -> bool:
        """Whether there is room for a search of all the process's tensors. `guess_ns`: what the first one may cost."""
        cost = self._count_ns or guess_ns
        if self._budget <= 0 or not self._since_ns or not cost:
            return False
        if now_ns - (self._count_at or self._since_ns) < cost / (_COUNT_SHARE * self._budget):
            return False
        room = self._budget * _WINDOW * _SECOND - self._looks.total(now_ns) - self._hooks_ahead(now_ns)
        return cost <= room

    def counted(self, cost_ns: int, now_ns: int) -> None:
        """That search has been made, after a step and before the next."""
        self._count_at, self._count_ns = now_ns, cost_ns
        self._spend(self._looks, cost_ns, now_ns)

    def _book_beside(self, beside_ns: int, now_ns: int) -> None:
        """Our thread's work in the second after an announced step is for that step: it sends what was seen."""
        cost, self._beside_ns = beside_ns - self._beside_ns, beside_ns
        if not self._since_ns or now_ns <= self._beside_free_ns:
            self.announced_ns += cost
        else:
            self._spend(self._rest, cost, now_ns)

    def _affordable(self, now_ns: int) -> Tier:
        if self._budget <= 0:
            self.next_ns = _NEVER
            return Tier.NONE
        if not self._since_ns:
            self._since_ns, self.next_ns = now_ns, now_ns + _AGAIN_NS
            self._deep_at = self._deep_at or now_ns
        if now_ns < self.next_ns:
            return Tier.NONE
        room = self._budget * _WINDOW * _SECOND - self._looks.total(now_ns) - self._hooks_ahead(now_ns)
        if now_ns >= self._deep_at + _DEEP_GAP_NS and (deep := self._deep_ns()) and deep <= room:
            return Tier.DEEP
        if self._look_ns <= room and room > 0:
            return Tier.GRAPH
        self.next_ns = now_ns + _AGAIN_NS
        return Tier.NONE

    def _hooks_ahead(self, now_ns: int) -> float:
        """What hooks and our own thread will cost in 30 s, as far as they have shown: they can't be refused."""
        passed = max(_AGAIN_NS, now_ns - self._since_ns)
        return self._rest.total(now_ns) * max(1.0, (_WINDOW + 1) * _SECOND / passed)

    def _deep_ns(self) -> int | None:
        """What a deep look would cost, if that is known and within the share of the budget that it may take."""
        if self._deep_wall is None or not self.usual_ns:
            return None
        cost = max(self._deep_own, self._deep_wall - int(self.usual_ns)) + self._deep_more
        return cost if cost <= _DEEP_SHARE * self._budget * _WINDOW * _SECOND else None

    def _pace(self, now_ns: int) -> None:
        """Spread the looks: what one cost is paid for before the next."""
        if self._budget <= 0:
            self.next_ns = _NEVER
            return
        set_aside = self._hooks_ahead(now_ns) + (self._deep_ns() or 0)
        whole = self._budget * _WINDOW / (_WINDOW + 2)
        share = max(whole - set_aside / (_WINDOW * _SECOND), self._budget / 10)
        self.next_ns = now_ns + max(_GAP_NS, int(self._look_ns / share))
