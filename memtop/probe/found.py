"""What a deep look found, as the plain facts that `wire.py` sends: moments, peak, modules, lines, trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import allocator, events, limits, wire
from .attribution import CATEGORIES, PARAMETERS, Attribution
from .births import BACKWARD, FORWARD, HELD, PHASES, RECOMPUTE, Birth, Moment
from .by_line import lines
from .by_module import modules
from .cuda_history import UNSEEN, Recorded
from .cuda_lives import Mismatch
from .curves import lengths, pixels
from .forms import Forms
from .lengths import Unknown, length_of
from .look import Look
from .pixels import image_of
from .places import module_names, text_of
from .replay import Change, Course, changes, course, thinned
from .replay_cuda import course_from_history
from .scaling import Growth, batch_of, rounding, scaling

_MARKS = 4000
_NONE = {"retries": 0}
_PHASE_AFTER = (("forward_end", "backward"), ("backward_end", "optimizer"), ("step_end", "end"))


class Found:
    """One finished look."""

    def __init__(
        self,
        look: Look,
        attribution: Attribution,
        alive: list[Any],
        step: int,
        recorded: dict[str, Recorded] | None = None,
    ) -> None:
        """`alive` are the modules that live now; `step` is the number of the step that was looked at; `recorded` what
        the allocators of GPUs themselves say of it."""
        self.look = look
        self.notes: set[str] = set()
        self._recorded = recorded or {}
        self.step = step
        self.names = module_names(alive)
        """Dotted path and module by the module's `id`, parents first."""
        self.ranks = attribution.finish()
        devices = {birth.device for birth in look.births}
        home = {birth.device for birth, rank in zip(look.births, self.ranks, strict=True) if rank == PARAMETERS}
        changed = list(changes(look))
        self.courses = [self._course(device, changed) for device in sorted(home or devices)]
        self.owners = self._owned(attribution.owners)
        """The module (its `id`, 0 for none) that each birth belongs to."""

    def _course(self, device: str, events: list[Change | Moment]) -> Course:
        """As the device's allocator has it, where it has told; else as the look saw it."""
        if device in self._recorded:
            try:
                return course_from_history(self.look, self.ranks, device, self._recorded[device], self.notes)
            except Mismatch as error:
                self.notes.add(f"{UNSEEN}: the allocator's record can't be used, {error}")
        return course(self.look, self.ranks, device, events)

    def _owned(self, owners: dict[int, int]) -> list[int]:
        """A parameter's (gradient's, state's) module; else the one that ran; in backward the one whose gradient ran."""
        births, names = self.look.births, self.names
        by_node = dict(self.look.nodes)
        by_node |= {b.sequence: b.module for b in births if b.phase in (FORWARD, RECOMPUTE) and b.module}
        found = [owners.get(n) or b.module or by_node.get(b.sequence, 0) for n, b in enumerate(births)]
        return [owner if owner in names else 0 for owner in found]

    def path(self, owner: int) -> str | None:
        """A module's dotted path; `None` for none."""
        known = self.names.get(owner)
        return None if known is None else known[0]

    def records(
        self, counters: dict[str, Any], notes: list[str], taken: Mapping[str, Sequence[limits.Reading]]
    ) -> list[wire.Record]:
        """Everything, in the order in which the monitor expects it: for each device its moments, peak, and the rest.
        `counters` are the allocator's by device and moment (`cuda:0 forward_end`), `taken` what was taken of the
        process's own limits by moment."""
        sent = []
        growth = self._growth(any(taken.values()))
        events.write(self)
        for made in self.courses:
            told = sorted({*notes, *self.notes, *([] if made.played else [UNSEEN])})
            for name, (at, count) in made.moments.items():
                counted = _as_played(made, made.points[count], counters.get(f"{made.device} {name}"))
                sent.append(self._memory(made, name, at, made.points[count], told, counted))
            at = made.times[made.peak]
            counted = counters.get(f"{made.device} peak")
            if made.counters is not None:
                counted = made.counters | {"retries": (counters.get(f"{made.device} step_end") or _NONE)["retries"]}
            counted = _as_played(made, made.highest, counted)
            sent.append(self._memory(made, "peak", at, made.highest, told, counted, self._where(made)))
            sent.append(wire.modules(self._facts(made) | modules(self, made)))
            sent.append(wire.lines(self._facts(made) | lines(self, made)))
            sent.append(wire.trace(self._facts(made) | self._trace(made)))
            if made.device in growth:
                facts = growth[made.device] | {"limits": _limits(made, taken)}
                sent.append(wire.scaling(self._facts(made) | facts))
        return sent

    def _growth(self, limited: bool) -> dict[str, dict[str, Any]]:
        """By device what grows with the batch; where the process is `limited`, by size of its blocks too. A forecast
        that can't be made spoils nothing of the look."""
        try:
            batch = batch_of(self)
            if not batch:
                return {}
            forms = Forms(self)
            growth = Growth(self, batch, forms)
            return {
                made.device: scaling(self, made, batch, growth, limited)
                | self._lengths(made, batch, forms)
                | self._pixels(made, batch, forms)
                for made in self.courses
            }
        except Exception as error:
            self.notes.add(f"no forecast: {type(error).__name__}: {error}")
            return {}

    def _lengths(self, made: Course, batch: int, forms: Forms) -> dict[str, Any]:
        """What grows with the length of the sequences. Where that can't be told the forecast of batches stands."""
        told: dict[str, Any] = {"length": None, "lengths": [], "length_unknown": None}
        try:
            told["length"] = length = length_of(self, batch)
            if length is not None and not made.played:
                told["lengths"] = lengths(self, made, batch, length, forms)
            elif length is not None:
                told["length_unknown"] = "the device's own allocator was played"
        except Unknown as why:
            told["length_unknown"] = str(why)
        except Exception as error:
            self.notes.add(f"no forecast of lengths: {type(error).__name__}: {error}")
        return told

    def _pixels(self, made: Course, batch: int, forms: Forms) -> dict[str, Any]:
        """What grows with the size of the images, likewise."""
        told: dict[str, Any] = {"image": [], "pixels": [], "pixels_error": None, "pixels_unknown": None}
        try:
            image = image_of(self, batch)
            if image is not None:
                told["image"] = list(image)
                if made.played:
                    raise Unknown("the device's own allocator was played")
                told["pixels"], told["pixels_error"] = pixels(self, made, batch, image, forms)
        except Unknown as why:
            told["pixels_unknown"] = str(why)
        except Exception as error:
            self.notes.add(f"no forecast of image sizes: {type(error).__name__}: {error}")
        return told

    def _facts(self, made: Course) -> dict[str, Any]:
        return {"device": made.device, "step": self.step}

    def _memory(
        self,
        made: Course,
        moment: str,
        at: int,
        vector: tuple[int, ...],
        notes: list[str],
        allocator: Any = None,
        where: dict[str, Any] | None = None,
    ) -> wire.Record:
        facts = self._facts(made) | {"moment": moment, "tier": "deep", "where": where, "t_ns": at, "notes": notes}
        return wire.memory(facts | {"bytes": dict(zip(CATEGORIES, vector, strict=True)), "allocator": allocator})

    def _where(self, made: Course) -> dict[str, Any] | None:
        """Phase, module, operator and line of the allocation that reached the peak."""
        if made.cause < 0:
            return None
        birth, again = self.look.births[made.cause], self.look.again
        phase = RECOMPUTE if birth.phase == BACKWARD and birth.sequence in again else birth.phase
        place = self.look.places.known[birth.line] if birth.line >= 0 else None
        return {
            # The first gradient after a recomputation is made by the node that asked for it, on top of all of it.
            "phase": self._phase(made.times[made.peak]) if birth.phase == HELD else PHASES[phase],
            "module": self.path(self.owners[made.cause]),
            "operator": operator(birth),
            "line": None if place is None else f"{place[0]}:{place[1]}",
            "text": None if place is None else text_of(place),
            "seconds": ((made.times[made.peak] if birth.phase == HELD else birth.at) - self.look.began) / 1e9,
        }

    def _phase(self, at: int) -> str | None:
        """The phase that ran when a storage of before the step was given another size: that of the birth before."""
        before = [birth for birth in self.look.births if birth.phase != HELD and birth.at <= at]
        return PHASES[before[-1].phase] if before else None

    def _trace(self, made: Course) -> dict[str, Any]:
        chosen, peak = thinned(made)
        began = self.look.began
        ended = made.moments["step_end"][0] if "step_end" in made.moments else made.times[-1]
        return {
            "seconds": (ended - began) / 1e9,
            "columns": list(CATEGORIES),
            "times": [round((made.times[index] - began) / 1e9, 7) for index in chosen],
            "points": [list(made.points[index]) for index in chosen],
            "marks": self._marks(made, ended),
            "peak": peak,
            "changes": len(made.steps),
        }

    def _marks(self, made: Course, ended: int) -> list[dict[str, Any]]:
        """Where each phase begins: as the births tell, and the moments, which are exact."""
        turns = [(self.look.began, "forward")]
        turns += [(birth.at, PHASES[birth.phase]) for birth in self.look.births if birth.phase != HELD]
        turns += [(made.moments[name][0], phase) for name, phase in _PHASE_AFTER if name in made.moments]
        turns.append((ended, "end"))
        marks: list[dict[str, Any]] = []
        for at, name in sorted(turns, key=lambda turn: turn[0]):
            if not marks or marks[-1]["name"] != name:
                marks.append({"at": round((at - self.look.began) / 1e9, 7), "name": name})
        return marks[:_MARKS]


def _limits(made: Course, taken: Mapping[str, Sequence[limits.Reading]]) -> list[dict[str, int | str]]:
    """Of the process's own limits, what other things than tensors have: on a GPU of the share that torch may reserve,
    on the CPU of those on the process."""
    if made.device != "cpu":
        share = allocator.share(made.device)
        return [] if share is None else [{"name": limits.SHARE, "bytes": share, "beside": rounding(made)}]
    held = {name: sum(made.points[count]) for name, (_, count) in made.moments.items() if name in taken}
    return limits.beside([taken[name] for name in held], list(held.values()))


def _as_played(made: Course, vector: tuple[int, ...], counted: Any) -> Any:
    """What live tensors asked for is known to the byte where the allocator's record was played."""
    return counted | {"requested": sum(vector)} if made.played and counted is not None else counted


def operator(birth: Birth) -> str | None:
    """`aten.addmm`."""
    return None if birth.operator is None else str(birth.operator).removesuffix(".default")
