"""A run in a few lines of text: while it goes on, and when it is over. Pure; for a terminal line and the scrollback."""

from __future__ import annotations

from collections.abc import Mapping
from signal import SIGINT, SIGTERM, Signals

from memtop.model import batches, leaks, oom_text, ranks_text
from memtop.model.categories import TENSORS
from memtop.model.colours import title
from memtop.model.i18n import _
from memtop.model.records import EndRecord, MemoryRecord, StepRecord
from memtop.model.snapshot import NO_MORE, LogState, Phase, Snapshot
from memtop.model.text import harmless, one_line
from memtop.model.units import duration, number, rate, size

_RUNNING = (Phase.TRAINING, Phase.PAUSED)


def tensors(sizes: Mapping[str, int | None]) -> int | None:
    """Bytes of all tensor categories that are known; `None` where none is."""
    known = [count for name in TENSORS if (count := sizes.get(name)) is not None]
    return sum(known) if known else None


def progress(snapshot: Snapshot, width: int) -> str:
    """One line of at most `width` characters: what is least needed leaves first."""
    if snapshot.phase not in _RUNNING or snapshot.step is None:
        parts = [snapshot.title, snapshot.phase_text]
    else:
        parts = _figures(snapshot, snapshot.step)
    parts = [harmless(part, width) for part in parts if part]
    while len(parts) > 1 and len("  ".join(parts)) > width:
        parts.pop()
    return "  ".join(parts)[:width]


def _figures(snapshot: Snapshot, step: StepRecord) -> list[str]:
    done, total = number(step.step), snapshot.total_steps
    parts = [
        "paused" if snapshot.phase is Phase.PAUSED else "",
        f"step {done}/{number(total)}" if total else f"step {done}",
        f"tensors {_size_of(snapshot.now)}, highest {_size_of(snapshot.highest)}",
        f"{rate(snapshot.steps_per_second)} step/s",
    ]
    if step.loss is not None:
        parts.append(f"loss {step.loss:.4g}")
    if snapshot.eta is not None:
        parts.append(f"{duration(snapshot.eta)} to go")
    elif total is None:
        parts.append(batches.pass_words(step, snapshot.pass_eta))
    whose = "" if snapshot.ranks is None else f"{ranks_text.among(snapshot.ranks)} of {len(snapshot.ranks.cells)}"
    return [snapshot.title, whose, *parts]


def _size_of(record: MemoryRecord | None) -> str:
    return size(tensors(record.bytes) if record else None)


def lines(snapshot: Snapshot, end: EndRecord | None, goes_on: bool = False) -> list[str]:
    """What to leave behind when a run is over, or left to itself: how it ended, where its memory was, where the log
    lies."""
    found = [_outcome(snapshot, end, goes_on)]
    if snapshot.skipped:
        found.append(f"{number(snapshot.skipped)} steps skipped by GradScaler: gradients that are not finite")
    found += [harmless(words) for words in snapshot.counting]
    if snapshot.oom is not None:
        found += oom_text.lines(snapshot.oom)
    found += [f"{leaks.headline(leak)}; {leaks.remedy(leak)}" for leak in snapshot.leaks]
    for device, sizes in sorted((end.peak if end else {}).items()):
        found.append(_highest(harmless(device, 40), sizes))
    if snapshot.missing is not None:
        found.append(snapshot.missing)
    if snapshot.ranks is not None:
        found += ranks_text.lines(snapshot.ranks)
    if snapshot.early:
        found.append(f"{ranks_text.named(snapshot.early)} gone before the first step, without a last word")
    if snapshot.deep is not None:
        whose = "" if snapshot.ranks is None else f"{ranks_text.among(snapshot.ranks)}: "
        found.append(whose + peak(snapshot.deep.peak))
    found += [_log(log) for log in snapshot.logs]
    return found


def _outcome(snapshot: Snapshot, end: EndRecord | None, goes_on: bool) -> str:
    told = "still running" if goes_on else how(end)
    if end is not None and end.exit_code is None and end.signal is None and snapshot.phase_text == _(NO_MORE):
        told = "watched no more, the process itself goes on"
    parts = [f"{harmless(snapshot.title, 200)}: {told}"]
    if end is not None:
        parts.append(f"{number(end.steps)} {'step' if end.steps == 1 else 'steps'} in {duration(end.seconds)}")
    if snapshot.steps_per_second is not None:
        parts.append(f"{rate(snapshot.steps_per_second)} step/s")
    if snapshot.step is not None and snapshot.step.batch_size is not None:
        parts.append(f"batch {batches.size(snapshot.step.batch_size, snapshot.model)}")
    if snapshot.samples_per_second is not None:
        parts.append(f"{rate(snapshot.samples_per_second)} samples/s")
    return ", ".join(parts)


def how(end: EndRecord | None) -> str:
    if end is None:
        return "its end was not seen"
    if end.signal in (SIGINT, SIGTERM):
        return f"stopped ({Signals(end.signal).name})"
    if end.signal is not None:
        return f"ended by signal {end.signal}"
    return f"exit status {'unknown' if end.exit_code is None else end.exit_code}"


def _highest(device: str, sizes: Mapping[str, int | None]) -> str:
    known = [(count, name) for name in TENSORS if (count := sizes.get(name))]
    shares = ", ".join(f"{title(name)} {size(count)}" for count, name in sorted(known, reverse=True))
    whole = sizes.get("tensors", tensors(sizes))
    return f"highest seen on {device}: {size(whole)} of tensors" + (f" ({shares})" if shares else "")


def peak(record: MemoryRecord) -> str:
    """The highest instant of a step: how much, and where: phase, module, operator, source line. Unknown is left out."""
    told = record.where or {}
    names = ("phase", "module", "operator", "line", "text")
    phase, module, operator, line, text = (one_line(str(told.get(name) or "")) for name in names)
    made = f"{module} ({operator})" if module and operator else module or operator
    places = [place for place in (phase, made, f"{line.rpartition('/')[2]} {text}".strip()) if place]
    return f"peak {_size_of(record)}" + (f" in {', '.join(places)}" if places else "")


def _log(log: LogState) -> str:
    where = "stdout" if log.path == "-" else harmless(log.path, 400)
    text = f"log {where}: {number(log.records)} records"
    if not log.ok:
        text = f"log {where} stopped after {number(log.records)} records"
    return "; ".join(part for part in (text, log.error, log.note) if part)
