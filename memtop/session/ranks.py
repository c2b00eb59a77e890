"""One state a rank, and which of them a person looks at. No threads, no clock of its own."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TypeVar

from memtop.model.ledger import known
from memtop.model.ranks import RankCell, RankStrip, Standing
from memtop.model.records import DeviceRecord, EndRecord, EventRecord, RankEnd, Record, StepRecord
from memtop.model.snapshot import Phase, Tracked
from memtop.protocol import records as wire
from memtop.session.forecasts import Forecasts
from memtop.session.share import by_sight, merged, own
from memtop.session.state import State
from memtop.session.voices import reports

_ENOUGH = 3
"""Watched steps that it takes to say who is slow."""
_Figure = TypeVar("_Figure", int, float)
_STANDINGS: dict[Phase, Standing] = {
    Phase.TRAINING: "training",
    Phase.PAUSED: "paused",
    Phase.LOST: "lost",
    Phase.ENDED: "ended",
}


class Ranks:
    """All of one run. Rank 0 is there from the start; where there are no others, this is its state alone."""

    def __init__(self, start_ns: int, before: Iterable[DeviceRecord] = (), forecasts: Forecasts | None = None) -> None:
        """As of `State`; what earlier runs taught is rank 0's."""
        self._start_ns = start_ns
        self._states = {0: State(start_ns, before, forecasts)}
        self._samples: list[DeviceRecord] = []
        self._pids: dict[int, int] = {}
        """The process that speaks for a rank."""
        self._heard_of: dict[int, int] = {}
        """The rank of each process that has imported torch."""
        self._lost: dict[int, float] = {}
        """When a rank was lost, run seconds; one that reports again is not."""
        self._left: set[int] = set()
        """Processes whose connection ended without a last word."""
        self._early: dict[int, float] = {}
        """When a rank was gone that had reported nothing, run seconds."""
        self._chosen: int | None = None
        self._most = False

    # -- what is looked at -------------------------------------------------------------------------------------------

    def show(self, rank: int | None) -> None:
        """Look at `rank`; `None` is the one whose peak is highest, whichever that is."""
        self._most = rank is None
        if rank in self._pids:
            self._chosen = rank

    @property
    def shown(self) -> State:
        """The state that is looked at: that of the lowest rank until somebody chooses."""
        return self._states[self.rank]

    @property
    def rank(self) -> int:
        """The rank that is looked at."""
        if self._most and self._pids:
            return max(self._pids, key=lambda rank: (_peak(self._states[rank]) or 0, -rank))
        return self._first if self._chosen is None else self._chosen

    @property
    def aim(self) -> int | None:
        """The rank that a deep look is asked of; `None` is all of them, where the maximum is looked at."""
        return None if self._most or not self.several else self.rank

    def strip(self) -> RankStrip | None:
        """The ranks beside each other; `None` where there is one."""
        if len(self._pids) < 2:
            return None
        cells = tuple(_cell(rank, self._states[rank], self._lost.get(rank)) for rank in sorted(self._pids))
        return RankStrip(cells=cells, shown=self.rank, follows_most=self._most)

    # -- what all of them share --------------------------------------------------------------------------------------

    @property
    def _first(self) -> int:
        return min(self._pids, default=0)

    @property
    def first(self) -> State:
        """Of the lowest rank that reports: what counts for the run as a whole."""
        return self._states[self._first]

    @property
    def several(self) -> bool:
        """Whether this host has processes of more than one rank."""
        return len({*self._heard_of.values(), *self._pids}) > 1

    @property
    def end(self) -> EndRecord | None:
        """How the run ended; `None` before."""
        return self.first.end

    @property
    def step(self) -> StepRecord | None:
        """The newest step of the lowest rank."""
        return self.first.step

    @property
    def visible(self) -> dict[str, str]:
        """UUID -> `cuda:N`, for what is no rank's."""
        return merged([state.visible for _, state in sorted(self._states.items())])

    @property
    def parts(self) -> dict[int, str]:
        """The processes whose memory is to be told apart, by pid, with a name; empty where there is one rank."""
        if not self.several:
            return {}
        silent = {pid: rank for pid, rank in self._heard_of.items() if rank not in self._pids}
        pids = silent | {pid: rank for rank, pid in self._pids.items()}
        return {pid: f"rank {rank}" for pid, rank in pids.items()}

    @property
    def devices(self) -> dict[str, DeviceRecord]:
        """The newest sample of each device."""
        return self.first.devices

    def at(self, t_ns: int) -> float:
        """A probe's clock as run seconds."""
        return self.first.at(t_ns)

    def malformed(self, count: int) -> None:
        """So many lines did not decode."""
        self.first.malformed += count

    def known(self) -> list[Record]:
        """What a log that starts in mid-run is told: models and what the newest deep looks found."""
        states = [state for _, state in sorted(self._states.items())]
        models: list[Record] = [state.model for state in states if state.model is not None]
        looks = [part for state in states for part in state.looks.records()]
        return [*models, *looks, *(part for state in states for part in state.forecasts.records())]

    def marks_since(self, number: int) -> tuple[int, list[Tracked]]:
        """The marks of the lowest rank: those of the others are in the log."""
        return self.first.marks.since(number)

    # -- what happens ------------------------------------------------------------------------------------------------

    def heard(self, message: wire.Message) -> list[Record]:
        """A message of a rank's probe: the records it makes."""
        joined = self._meet(message)
        state = self._states[message.rank]
        made = state.heard(message)
        if self.several:
            self._tell_failures()
        return [*joined, *made]

    def _tell_failures(self) -> None:
        """A rank that ran out of memory is news on every screen: the first that did not catch it, else the newest."""
        failed = [told for state in self._states.values() if (told := state.troubles.own) is not None]
        for rank, state in self._states.items() if failed else ():
            others = [told for told in failed if told.rank != rank]
            fatal = min((told for told in others if not told.caught), key=lambda told: told.t, default=None)
            state.troubles.elsewhere = fatal or max(others, key=lambda told: told.t, default=None)

    def _meet(self, message: wire.Message) -> list[Record]:
        rank, pid = message.rank, message.pid
        if isinstance(message, wire.Hello) and message.torch is not None:
            self._heard_of[pid] = rank
        new = reports(message) and self._pids.get(rank) != pid
        if new:
            self._pids[rank] = pid
            self._lost.pop(rank, None)
            self._early.pop(rank, None)
        if rank not in self._states:
            self._states[rank] = State(self._start_ns)
            self._give(rank, self._samples or list(self._states[0].devices.values()))
        if self.several:
            for each, state in self._states.items():
                state.part = partial(own, pid=self._pids.get(each, pid if each == rank else None))
                state.troubles.rank, state.early = each, self._early
        if not new or len(self._pids) < 2:
            return []
        text = f"rank {rank} reports: {len(self._pids)} so far"
        return [EventRecord(t=self.at(message.t_ns), rank=rank, name="ranks", message=text, data={"pid": pid})]

    def _give(self, rank: int, samples: list[DeviceRecord]) -> list[Record]:
        """Tell one rank; what that makes of its own."""
        state = self._states[rank]
        mine = (by_sight(sample, state.visible) for sample in samples)
        made = state.sampled([sample for sample in mine if sample is not None])
        return [one for one in made if not isinstance(one, DeviceRecord)]

    def sampled(self, samples: list[DeviceRecord]) -> list[Record]:
        """Samples of the devices: every rank is told, the log once."""
        self._samples = samples
        return [*samples, *(made for rank in self._states for made in self._give(rank, samples))]

    def enter(self, phase: Phase, t: float) -> None:
        """All ranks that still run are in `phase` since `t`."""
        for state in self._states.values():
            if state.phase is not Phase.LOST and not state.said_bye:
                state.enter(phase, t)

    def lost(self, rank: int, t: float) -> None:
        """The connection of the process that speaks for `rank` broke."""
        if rank in self._states:
            self._states[rank].enter(Phase.LOST, t)
            self._lost[rank] = t

    def left(self, pid: int, t: float) -> None:
        """A process that spoke for no rank is gone without a last word. A rank whose processes all are is dead."""
        self._left.add(pid)
        rank = self._heard_of.get(pid)
        of_it = [one for one, of in self._heard_of.items() if of == rank]
        if rank is not None and rank not in self._pids and self._left.issuperset(of_it):
            self._early[rank] = t

    def ended(self, t: float, code: int) -> EndRecord:
        """The target is gone with `code` (minus a signal's number): one end for all.

        Of each device the rank with the most tensors, of the costs the rank that bore most: the others waited for it.
        """
        states = {rank: self._states[rank] for rank in sorted(self._pids or self._states)}
        strip, ends = self.strip(), {}
        for rank, state in states.items():
            ends[rank] = state.ended(t, code)
        peak: dict[str, dict[str, int | None]] = {}
        for end in ends.values():
            for device, sizes in end.peak.items():
                if device not in peak or (sizes["tensors"] or 0) > (peak[device]["tensors"] or 0):
                    peak[device] = sizes
        one = EndRecord(
            t=t,
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            steps=max(end.steps for end in ends.values()),
            seconds=t,
            peak=peak,
            dropped=sum(end.dropped for end in ends.values()),
            overhead_percent=_most(end.overhead_percent for end in ends.values()),
            announced_seconds=_most(end.announced_seconds for end in ends.values()),
            looks=_most(end.looks for end in ends.values()),
            ranks=None if strip is None else [_end(cell, ends[cell.rank].steps) for cell in strip.cells],
        )
        for state in {id(state): state for state in (*states.values(), self.first)}.values():
            state.end = one
        return one


def _peak(state: State) -> int | None:
    return max((known(record.bytes) for record in state.highest.values()), default=None)


def _cell(rank: int, state: State, lost: float | None) -> RankCell:
    device = state.home or "cpu"
    now, rate = state.now(device), state.steps_per_second()
    return RankCell(
        rank=rank,
        device=device,
        standing="lost" if lost is not None else "ended" if state.said_bye else _STANDINGS.get(state.phase, "waiting"),
        since=state.phase_since if lost is None else lost,
        step=0 if state.step is None else state.step.step,
        now=None if now is None else known(now.bytes),
        peak=_peak(state),
        seconds=1 / rate if rate else None,
        own=_middle(state.before_backward) if len(state.before_backward) >= _ENOUGH else None,
    )


def _middle(seconds: Iterable[float]) -> float:
    """The median, without `statistics`, whose import costs more than what it is used for here."""
    ordered = sorted(seconds)
    half, odd = divmod(len(ordered), 2)
    return ordered[half] if odd else (ordered[half - 1] + ordered[half]) / 2


def _end(cell: RankCell, steps: int) -> RankEnd:
    return RankEnd(
        rank=cell.rank,
        device=cell.device,
        steps=steps,
        tensors=cell.peak,
        lost_at=cell.since if cell.standing == "lost" else None,
    )


def _most(figures: Iterable[_Figure | None]) -> _Figure | None:
    return max((one for one in figures if one is not None), default=None)
