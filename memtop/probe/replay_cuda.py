"""A look's events, played in the order and with the bytes of the CUDA allocator's own record.

The look knows what a storage is, the record when its block was taken and given back, and every block besides: what an
operator takes for itself. The two meet at the address. A storage is noticed when the operator that made it has
returned, so its block is the last one that was taken at its address before. A block that no storage claims is
`temporaries` where it is given back within the step (scratch of the operator that was running: it has that one's module
and line), and `other_tensors` where it is not, or was there before the step (cuBLAS keeps a workspace that way).

Tensors count from the taking of their block to its release (`free_requested`), as `allocated` does; what another
stream still waits for is `pending_free`. The record's sums are held against the allocator's counters at each moment of
the step: one that does not meet them is not used.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from operator import attrgetter
from typing import NamedTuple

import torch

from .attribution import CATEGORIES, OTHER, TEMPORARIES
from .births import BACKWARD, FORWARD, HELD, OPTIMIZER, Birth, Moment
from .cuda_history import Recorded
from .cuda_lives import DONE, FREED, TAKEN, Event, Life, Places, Sums, checked, events
from .look import Look
from .replay import Course

_TAKEN_AT = attrgetter("at")
_AFTER = {"forward_end": BACKWARD, "backward_end": OPTIMIZER, "step_end": FORWARD}


class _Claim(NamedTuple):
    """A storage says where its memory is."""

    birth: int
    bytes: int
    at: int
    held: bool
    moved: bool


def course_from_history(look: Look, ranks: list[int], device: str, recorded: Recorded, notes: set[str]) -> Course:
    """What happened on one device. Blocks without a storage become births of the look, with their rank in `ranks`.
    Raises `Mismatch` where the record is not to be trusted: nothing has been added then."""
    lives, done = events(recorded)
    places = checked(lives, done, recorded)
    count = len(look.births)
    foreign = _match(look, ranks, device, lives)
    if foreign:
        notes.add(f"tensors of {foreign:,} bytes are memory of others and not of torch's allocator: not counted")
    _name_the_rest(look, ranks, device, lives)
    return _course(look, ranks, device, lives, _as_unwatched(look, done, count), recorded, places)


def _claims(look: Look, device: str) -> dict[int, list[_Claim]]:
    """By address what storages say, those of before the step first, then in the order in which they said it."""
    found: dict[int, list[_Claim]] = defaultdict(list)
    births = look.births
    for number, address in look.addresses.items():
        birth = births[number]
        if birth.device == device and birth.bytes and address:
            found[address].append(_Claim(number, birth.bytes, birth.at, birth.phase == HELD, False))
    for move in look.moves:
        if births[move.birth].device == device and move.bytes and move.address:
            found[move.address].append(_Claim(move.birth, move.bytes, move.at, False, True))
    for claims in found.values():
        claims.sort(key=lambda claim: (not claim.held, claim.at))
    return found


def _match(look: Look, ranks: list[int], device: str, lives: list[Life]) -> int:
    """Gives the blocks their storages. Returns the bytes of those held that have none: not the allocator's memory."""
    by_address: dict[int, list[Life]] = defaultdict(list)
    for life in lives:
        if not life.early:
            by_address[life.address].append(life)
    foreign = 0
    for address, claims in _claims(look, device).items():
        there = by_address.get(address, [])
        for claim in claims:
            found = _its_block(claim, there)
            if found is not None:
                found.birth = _moved(look, ranks, claim) if claim.moved else claim.birth
            elif claim.held and not there:
                foreign += claim.bytes
    return foreign


def _its_block(claim: _Claim, lives: list[Life]) -> Life | None:
    """The last block before the storage was noticed, of its size and without a storage; of one held, the first."""
    if claim.held:
        first = lives[0] if lives else None
        ours = first is not None and first.birth < 0 and (first.held or first.bytes == claim.bytes)
        return first if ours else None
    index = bisect_right(lives, claim.at, key=_TAKEN_AT) - 1
    # Claims come in order: what was taken before another one's block is not this one's.
    while index >= 0 and lives[index].birth < 0:
        if lives[index].held or lives[index].bytes == claim.bytes:
            return lives[index]
        index -= 1
    return None


def _moved(look: Look, ranks: list[int], claim: _Claim) -> int:
    """A storage's second block is a birth of its own: the first may outlive its beginning."""
    look.births.append(look.births[claim.birth]._replace(bytes=claim.bytes, at=claim.at))
    ranks.append(ranks[claim.birth])
    return len(look.births) - 1


def _name_the_rest(look: Look, ranks: list[int], device: str, lives: list[Life]) -> None:
    """Blocks without a storage: of before, of the operator that was running, or nobody's."""
    births = look.births
    ran = sorted((birth for birth in births if birth.phase != HELD), key=_TAKEN_AT)
    times = [birth.at for birth in ran]
    turns = [event for event in look.events if isinstance(event, Moment)]
    for life in lives:
        if life.birth >= 0 or life.early:
            continue
        birth = Birth(life.bytes, device, (life.bytes,), torch.uint8, None, -1, 0, -1, HELD, look.began)
        if not life.held:
            birth = birth._replace(phase=_phase(turns, life.at), at=life.at)
            index = bisect_left(times, life.at)
            if index < len(times) and not any(life.at < turn.at < times[index] for turn in turns):
                birth = ran[index]._replace(
                    bytes=life.bytes, device=device, shape=birth.shape, dtype=birth.dtype, at=life.at
                )
        life.birth = len(births)
        births.append(birth)
        ranks.append(TEMPORARIES if life.freed and not life.held else OTHER)


def _phase(turns: list[Moment], at: int) -> int:
    """The phase of the step at a time, by its moments."""
    passed = [_AFTER[turn.name] for turn in turns if turn.at <= at and turn.name in _AFTER]
    return passed[-1] if passed else FORWARD


def _as_unwatched(look: Look, done: list[Event], count: int) -> list[Event]:
    """What only the look brought about does not count: under a dispatch mode autograd adds gradients up out of place,
    and frees a summand right after (see `replay.changes`). Such a free is told before the sum's block is taken."""
    told: set[int] = set()
    ordered: list[Event] = []
    for index, event in enumerate(done):
        if index in told:
            continue
        life = event.life
        if event.kind == TAKEN and life is not None and life.birth < count and life.birth in look.sums:
            freed = _summand(done, index + 1, look.sums[life.birth])
            told.update(freed)
            ordered += [done[one] for one in freed]
        ordered.append(event)
    return ordered


def _summand(done: list[Event], index: int, summands: tuple[int, ...]) -> list[int]:
    """The entries that free one of the summands before another block is taken."""
    end = next((one for one in range(index, len(done)) if done[one].kind == TAKEN), len(done))
    for one in range(index, end):
        life = done[one].life
        if done[one].kind == FREED and life is not None and life.birth in summands:
            return [one, *(more for more in range(one + 1, end) if done[more].kind == DONE and done[more].life is life)]
    return []


def _course(
    look: Look, ranks: list[int], device: str, lives: list[Life], done: list[Event], recorded: Recorded, places: Places
) -> Course:
    held = {life.birth: life.bytes for life in lives if life.held and not life.early}
    now = [0] * len(CATEGORIES)
    for number, size in held.items():
        now[ranks[number]] += size
    turns = {event.name: event.at for event in look.events if isinstance(event, Moment)}
    made = Course(device, held, [look.began], [tuple(now)], played=True)
    sums = Sums(lives, recorded)
    best, made.counters = sums.live, _counters(sums, places)
    for event in done:
        sums.add(event)
        life = event.life
        if life is None or event.kind == DONE:
            continue
        size = life.bytes if event.kind == TAKEN else 0
        now[ranks[life.birth]] += size or -life.bytes
        made.steps.append((life.birth, size, event.at))
        made.times.append(max(made.times[-1], min(event.at, turns.get("step_end", event.at))))
        made.points.append(tuple(now))
        if sums.live > best:
            best, made.peak, made.cause, made.counters = sums.live, len(made.steps), life.birth, _counters(sums, places)
    made.moments = {name: (turns[name], count) for name, count in places.counts.items() if name in turns}
    return made


def _counters(sums: Sums, places: Places) -> dict[str, int] | None:
    """The allocator's counters at this point, bytes; `None` where the sizes of its blocks are not known."""
    if not places.blocks:
        return None
    names = {"requested": sums.live, "allocated": sums.allocated, "active": sums.active}
    return names | {"reserved": sums.reserved}
