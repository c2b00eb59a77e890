"""The machine: what it is, and what it does now. One block for the CPU, one for each GPU."""

from __future__ import annotations

from rich.segment import Segment

from memtop.model.i18n import _
from memtop.model.snapshot import Snapshot
from memtop.model.text import harmless
from memtop.tui.draw.cells import Row, cut
from memtop.tui.draw.facts import Ranked, best
from memtop.tui.draw.gpu import gpu_lines, spec_of
from memtop.tui.draw.host import host_lines
from memtop.tui.draw.panel import panel
from memtop.tui.view import View


def machine(snapshot: Snapshot, width: int, height: int, view: View) -> list[Row]:
    """CPU and GPU in one frame."""
    rows = best(lines(snapshot, width - 4, view), height - 2)
    return panel(_host_title(snapshot, view), _host_aside(snapshot, view), rows, width, height, view.palette)


def cpu(snapshot: Snapshot, width: int, height: int, view: View) -> list[Row]:
    """The CPU's own frame, on wide screens."""
    rows = best(host_lines(snapshot, width - 4, view, wide=True), height - 2)
    return panel(_host_title(snapshot, view), _host_aside(snapshot, view), rows, width, height, view.palette)


def gpu(snapshot: Snapshot, width: int, height: int, view: View) -> list[Row]:
    """The GPUs' own frame, on wide screens."""
    title = [Segment(_("GPU"), view.palette["title"])]
    if len(snapshot.gpus) > 1:
        title += [Segment(_(" 1 of {value}").format(value=len(snapshot.gpus)), view.palette["dim"])]
    spec = spec_of(snapshot)
    aside = (
        [Segment(_("driver {driver}").format(driver=harmless(spec.driver)), view.palette["dim"])]
        if spec and spec.driver
        else []
    )
    return panel(title, aside, best(gpu_lines(snapshot, width - 4, view), height - 2), width, height, view.palette)


def lines(snapshot: Snapshot, width: int, view: View) -> list[Ranked]:
    """The GPU first where there is one; the reason why there is none last."""
    gpus, host = gpu_lines(snapshot, width, view), host_lines(snapshot, width, view)
    return gpus + host if snapshot.gpus else host + gpus


def _host_title(snapshot: Snapshot, view: View) -> Row:
    name = snapshot.host.hostname if snapshot.host else "Machine"
    return [Segment(_("Machine "), view.palette["title"]), Segment(cut(harmless(name), 24), view.palette["dim"])]


def _host_aside(snapshot: Snapshot, view: View) -> Row:
    return [Segment(harmless(snapshot.host.system), view.palette["dim"])] if snapshot.host else []
