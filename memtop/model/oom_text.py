"""An out-of-memory error in words: for the banner, the log's `message`, the scrollback and the panel."""

from __future__ import annotations

from collections.abc import Sequence

from memtop.model.categories import ALL
from memtop.model.oom import Explanation, Remedy
from memtop.model.units import size

_TITLE = {"other_tensors": "other tensors", "optimizer_state": "optimizer state", "other_processes": "other processes"}


def headline(told: Explanation) -> str:
    """What happened, in one line; of several ranks, to which."""
    return ("" if told.rank is None else f"rank {told.rank}: ") + _headline(told)


def _headline(told: Explanation) -> str:
    if told.killed:
        sure = (
            "the kernel's out-of-memory killer ended it" if told.certain else "killed (SIGKILL), memory was nearly full"
        )
        return f"out of memory on {told.device}: {sure}"
    wanted = "" if told.asked is None else f": {size(told.asked)} more were wanted"
    left = "" if told.available is None or told.asked is None else f", {size(told.available)} were left"
    if told.available is not None and told.asked is not None and told.available >= told.asked:
        left += " afterwards"
    where = "" if told.place is None else f", at {told.place.rpartition('/')[2]}"
    caught = "; caught, the training went on" if told.caught else ""
    return f"out of memory on {told.device} in step {told.step:,}{wanted}{left}{where}{caught}"


def advice(told: Explanation) -> str | None:
    """The remedies in one line; what to do where none would have worked."""
    if told.remedies:
        join = "; or " if together(told.remedies) is None else ", and "
        return join.join(f"{one.text} ({_saves(one)})" for one in told.remedies)
    if told.killed:
        return "see dmesg; a smaller batch needs less"
    if told.asked is not None and told.total is not None and told.asked > told.total:
        return f"this one allocation is larger than the whole device ({size(told.total)}): ask for less in that line"
    return "nothing that is known to save memory would have been enough: ask for less in that line"


def together(remedies: Sequence[Remedy]) -> int | None:
    """The bytes that remedies save together where none is enough alone; `None` where each is."""
    return None if all(one.enough for one in remedies) else sum(one.saves for one in remedies)


def lines(told: Explanation) -> list[str]:
    """All of it, a fact a line."""
    found = [headline(told)]
    if told.place is not None:
        text = f": {told.text}" if told.text else ""
        found.append(f"asked for in {told.place}{text}" + (f" (module {told.module})" if told.module else ""))
    if told.short is not None:
        most = "at most " if told.available is not None and told.short == told.asked else ""
        found.append(f"missing: {most}{size(told.short)} ({told.short:,} bytes)")
    if told.limit is not None:
        found.append(f"the limit is {told.limit}, set on this process")
    held = [(told.bytes.get(name), name) for name in ALL]
    parts = [f"{_TITLE.get(name, name)} {size(count)}" for count, name in held if count]
    if parts:
        found.append(f"held at that instant: {', '.join(parts)}")
    if told.cached:
        piece = "" if told.largest_free is None else f", the largest piece that would do {size(told.largest_free)}"
        found.append(f"cached by torch and of no use to it: {size(told.cached)}{piece}")
    found += [f"since the last good step: {change}" for change in told.changes]
    found += [f"would have worked: {one.text}: {_saves(one)}" for one in told.remedies if one.enough]
    found += [f"would help: {one.text}: {_saves(one)}" for one in told.remedies if not one.enough]
    whole = together(told.remedies)
    if told.remedies and whole is not None:
        found.append(f"together they save {size(whole)}, enough for it")
    if not told.remedies:
        found.append(advice(told) or "")
    return found + list(told.notes)


def _saves(one: Remedy) -> str:
    return f"saves {'~' if one.estimate else ''}{size(one.saves)}"
