"""An out-of-memory error in words: for the banner, the log's `message`, the scrollback and the panel.

Every function takes `say`, which translates what is on a screen; a log's words are English.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from memtop.model.categories import ALL
from memtop.model.i18n import N_
from memtop.model.oom import Change, Explanation, Remedy, Shape
from memtop.model.units import size

Say = Callable[[str], str]

_TITLES = {
    "parameters": N_("parameters"),
    "buffers": N_("buffers"),
    "gradients": N_("gradients"),
    "inputs": N_("inputs"),
    "activations": N_("activations"),
    "temporaries": N_("temporaries"),
    "other_tensors": N_("other tensors"),
    "optimizer_state": N_("optimizer state"),
    "other_processes": N_("other processes"),
    "runtime": N_("runtime"),
    "unbacked": N_("unbacked"),
    "rounding": N_("rounding"),
    "pending_free": N_("pending free"),
    "cached": N_("cached"),
    "context": N_("context"),
    "free": N_("free"),
}


def headline(told: Explanation, say: Say = str) -> str:
    """What happened, in one line; of several ranks, to which."""
    rank = "" if told.rank is None else say(N_("rank {rank}: ")).format(rank=told.rank)
    return rank + (_killed(told, say) if told.killed else _raised(told, say))


def _killed(told: Explanation, say: Say) -> str:
    if told.certain:
        words = say(N_("out of memory on {device}: the kernel's out-of-memory killer ended it"))
    else:
        words = say(N_("out of memory on {device}: killed (SIGKILL), memory was nearly full"))
    return words.format(device=told.device)


def _raised(told: Explanation, say: Say) -> str:
    if told.worker is None:
        words = say(N_("out of memory on {device} in step {step:,}")).format(device=told.device, step=told.step)
    else:
        words = say(N_("out of memory in worker {worker} of the DataLoader in step {step:,}"))
        words = words.format(worker=told.worker, step=told.step)
    if told.asked is not None:
        words += say(N_(": {size} more were wanted")).format(size=size(told.asked))
        if told.available is not None:
            after = told.available >= told.asked
            left = N_(", {size} were left afterwards") if after else N_(", {size} were left")
            words += say(left).format(size=size(told.available))
    if told.place is not None:
        words += say(N_(", at {place}")).format(place=told.place.rpartition("/")[2])
    return words + (say(N_("; caught, the training went on")) if told.caught else "")


def advice(told: Explanation, say: Say = str) -> str | None:
    """The remedies in one line; what to do where none would have worked."""
    if told.remedies:
        alone = told.killed or together(told.remedies) is None
        join = say(N_("; or ")) if alone else say(N_(", and "))
        return join.join(f"{remedy(one, told, say)} ({_saves(one, say)})" for one in told.remedies)
    if told.killed:
        return say(N_("see dmesg; a smaller batch needs less"))
    if told.worker is not None:
        return say(N_("a worker's own memory: ask for less in that line, or use fewer workers"))
    if told.asked is None:
        return say(N_("how much was asked for is not known, it was no tensor: ask for less in that line"))
    if told.total is not None and told.asked > told.total:
        words = say(N_("this one allocation is larger than the whole device ({size}): ask for less in that line"))
        return words.format(size=size(told.total))
    return say(N_("nothing that is known to save memory would have been enough: ask for less in that line"))


def together(remedies: Sequence[Remedy]) -> int | None:
    """The bytes that remedies save together where none is enough alone; `None` where each is."""
    return None if all(one.enough for one in remedies) else sum(one.saves for one in remedies)


def remedy(one: Remedy, told: Explanation, say: Say = str) -> str:
    """What to do."""
    if one.kind == "pieces":
        words = say(N_("set PYTORCH_CUDA_ALLOC_CONF={setting}: the cache was enough, but in pieces"))
        return words.format(setting="expandable_segments:True")
    if one.kind == "others":
        return say(N_("free what other processes hold on {device}")).format(device=one.name)
    if one.kind == "batch":
        words = say(N_("batch {count:,} instead of {batch:,} (accumulate gradients for the same effect)"))
        return words.format(count=one.count, batch=told.batch or 0)
    if one.kind == "checkpoint":
        words = say(N_("torch.utils.checkpoint in {count} segments, for about a third more time"))
        return words.format(count=one.count)
    if one.kind == "half":
        return say(N_("torch.autocast with bfloat16"))
    return say(N_("SGD without momentum instead of {name}")).format(name=one.name)


def change(one: Change, told: Explanation, say: Say = str) -> str:
    """What is different."""
    if one.before is not None and one.now is not None:
        words = say(N_("the batch was {before}, it is {now}"))
        return words.format(before=_shape(one.before), now=_shape(one.now))
    return say(N_("other processes took {size} more of {device}")).format(size=size(one.others), device=told.device)


def _shape(one: Shape) -> str:
    return f"({', '.join(str(count) for count in one[0])}) {one[1]}"


def facts(told: Explanation, say: Say = str) -> list[tuple[str, str]]:
    """All of it but the headline: what each fact is about, and the fact. Empty where it speaks for itself."""
    found: list[tuple[str, str]] = []
    if told.place is not None:
        text = f": {told.text}" if told.text else ""
        module = say(N_(" (module {module})")).format(module=told.module) if told.module else ""
        found.append((say(N_("asked for in")), told.place + text + module))
    found += _missing(told, say)
    found += _held(told, say)
    found += [(say(N_("since the last good step")), change(one, told, say)) for one in told.changes]
    for one in told.remedies:
        found.append((_worth(one, say), f"{remedy(one, told, say)}: {_saves(one, say)}"))
    whole = None if told.killed else together(told.remedies)
    if told.remedies and whole is not None:
        found.append(("", say(N_("together they save {size}, enough for it")).format(size=size(whole))))
    if not told.remedies:
        found.append(("", advice(told, say) or ""))
    if told.worker is not None:
        found.append(("", say(N_("what is held is that of the process that trains, not the worker's"))))
    return found + [("", note) for note in told.notes]


def _missing(told: Explanation, say: Say) -> list[tuple[str, str]]:
    found = []
    if told.short is not None:
        most = told.available is not None and told.short == told.asked
        words = N_("at most {size} ({count:,} bytes)") if most else N_("{size} ({count:,} bytes)")
        found.append((say(N_("missing")), say(words).format(size=size(told.short), count=told.short)))
    if told.limit is not None:
        found.append(("", say(N_("the limit is {limit}, set on this process")).format(limit=told.limit)))
    return found


def _held(told: Explanation, say: Say) -> list[tuple[str, str]]:
    found = []
    held = [(told.bytes.get(name), name) for name in ALL]
    parts = [f"{say(_TITLES[name])} {size(count)}" for count, name in held if count]
    if parts:
        when = N_("held at that instant") if told.freed is None else N_("still held when the error had risen")
        when = N_("held at the last watched moment") if told.killed else when
        found.append((say(when), ", ".join(parts)))
    if told.freed is not None and (lost := _freed(told.freed, say)):
        found.append((say(N_("held at that instant besides")), lost))
    if told.cached:
        words = size(told.cached)
        if told.largest_free is not None:
            words += say(N_(", the largest piece that would do {size}")).format(size=size(told.largest_free))
        found.append((say(N_("cached by torch and of no use to it")), words))
    return found


def _freed(bounds: tuple[int, int], say: Say) -> str:
    least, most = bounds
    if most < 0:
        return say(N_("what was let go of while the error rose (of a backward, its gradients): not known"))
    if most == 0:
        return ""
    words = say(N_("{least} to {most}: let go of while the error rose, by torch's own code or a list in the making"))
    return words.format(least=size(least), most=size(most))


def _worth(one: Remedy, say: Say) -> str:
    if not one.enough:
        return say(N_("would help"))
    return say(N_("would have worked") if one.whole else N_("would have let this allocation through"))


def lines(told: Explanation, say: Say = str) -> list[str]:
    """All of it, a fact a line."""
    found = [headline(told, say)]
    return found + [f"{name}: {fact}" if name else fact for name, fact in facts(told, say)]


def _saves(one: Remedy, say: Say) -> str:
    return say(N_("saves {size}")).format(size=f"{'~' if one.estimate else ''}{size(one.saves)}")
