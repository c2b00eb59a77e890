"""A process that somebody else started, in words: how old it is, how its memory grew since we look."""

from __future__ import annotations

from typing import Final

from memtop.model import units
from memtop.model.records import DeviceRecord

WHY: Final = "no categories: memtop did not start this process and is not inside it"
REMEDY: Final = "memtop run, or memtop.start() in its script, shows its tensors"
SILENCE: Final = "its output goes where it was started"


class Growth:
    """What a process tree holds, against the first time we looked. PSS where it is known, else RSS; never mixed."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[float, int]] = {}
        self._newest: dict[str, tuple[float, int]] = {}

    def saw(self, sample: DeviceRecord) -> None:
        """A sample of the host."""
        for name, t, count in (
            ("PSS", sample.tree_pss_t, sample.tree_pss),
            ("RSS", sample.t, sample.tree_rss),
        ):
            if t is not None and count is not None:
                self._first.setdefault(name, (t, count))
                self._newest[name] = (t, count)

    def words(self) -> str | None:
        """`PSS +12.0 MiB in 40 s`; `None` before two readings."""
        for name in ("PSS", "RSS"):
            if name in self._first and self._newest[name] != self._first[name]:
                (began, before), (t, count) = self._first[name], self._newest[name]
                sign = "+" if count >= before else "-"
                return f"{name} {sign}{units.size(abs(count - before))} in {units.duration(t - began)}"
        return None


def phase_text(age: float, growth: Growth) -> str:
    """`running for 2 h, PSS +12.0 MiB in 40 s`. `age` is in seconds."""
    grown = growth.words()
    return f"running for {units.duration(age)}" + (f", {grown}" if grown else "")
