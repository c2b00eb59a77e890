"""`memtop fit --what-if` and `memtop fit --as cuda`: estimates from one run, or from two."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, Any, Final, Protocol

from memtop.usage import Refused

if TYPE_CHECKING:
    from memtop.fit import Plan

Result = tuple[bool, list[str], dict[str, Any]]
"""Whether a batch fits, what is printed, and the same for `--json`."""

INSTEAD: Final = "Instead of trial runs"
_OF: Final = {
    "what-if": ("memory", "margin", "start"),
    "plan": ("device_memory", "alloc_conf", "margin", "multiple_of", "most", "start"),
    "search": ("memory", "margin", "multiple_of", "most", "start", "trials"),
}
"""Which options a way of answering takes, of those that not all take."""
_WORDS: Final = {"what-if": "with --what-if", "plan": "with --as cuda", "search": "without --as cuda"}


class Screen(Protocol):
    """Where the progress of a run is drawn."""

    def tick(self, batch: int, steps: int) -> bool:
        """So many steps are done at this batch; whether to go on."""


def mode_of(given: dict[str, Any]) -> str:
    """`search`, `what-if` or `plan`. Options that say nothing there are refused."""
    if given["what_if"] and given["as_device"] is not None:
        raise Refused("--what-if is of this device, --as of another", "leave one of them out")
    mode = "what-if" if given["what_if"] else "plan" if given["as_device"] is not None else "search"
    if mode == "plan" and given["memory"] is not None:
        raise Refused("--memory is of trial runs", "say --device-memory")
    for name in {name for names in _OF.values() for name in names} - set(_OF[mode]):
        if given[name] is not None:
            raise Refused(f"--{name.replace('_', '-')} says nothing {_WORDS[mode]}", "leave it out")
    if mode == "plan" and given["device_memory"] is None:
        raise Refused("how much memory has that GPU?", "say it, as in --device-memory 24GiB")
    return mode


def what_if(plan: Plan, given: dict[str, Any], screen: Screen) -> Result:
    """One run, and what other settings would take."""
    from memtop.fit import estimate_text
    from memtop.fit.estimate import estimate

    margin = (given["margin"] or 0.0) / 100
    found = estimate(plan, given["start"], given["memory"], margin, tick=screen.tick)
    fits = found.told.lines[0].max_batch != 0
    width = shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else None
    return fits, estimate_text.table(found, width), estimate_text.as_json(found)


def plan_for_cuda(plan: Plan, given: dict[str, Any], screen: Screen) -> Result:
    """Two small runs, and the largest batch that a GPU would hold."""
    from memtop.fit import planned, planned_text
    from memtop.model.caching import ConfigError, parse

    conf = _alloc_conf(given["alloc_conf"])
    try:
        parse(conf)
    except ConfigError as error:
        raise Refused(f"the allocator's settings {conf!r}: {error}", "see --alloc-conf in memtop fit --help") from None
    made = planned.planned(
        plan,
        given["device_memory"],
        start=given["start"] or planned.START,
        conf=conf,
        margin=(given["margin"] or 0.0) / 100,
        multiple_of=given["multiple_of"] or 1,
        most=given["most"],
        tick=screen.tick,
    )
    return made.found.perhaps > 0, planned_text.table(made), planned_text.as_json(made)


def _alloc_conf(asked: str | None) -> str:
    """As torch reads them: the newer name first."""
    if asked is not None:
        return asked
    return os.environ.get("PYTORCH_ALLOC_CONF") or os.environ.get("PYTORCH_CUDA_ALLOC_CONF") or ""
