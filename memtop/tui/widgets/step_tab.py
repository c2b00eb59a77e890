"""The step as a sawtooth, with a cursor to read it and a glass to enlarge it."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from memtop.model.deep_records import TraceRecord
from memtop.model.snapshot import DeepLook, Snapshot
from memtop.tui.draw import trace as course
from memtop.tui.draw.axis import axis_width
from memtop.tui.draw.cells import Row
from memtop.tui.draw.step import Reading, tab
from memtop.tui.view import View
from memtop.tui.widgets.tab import Tab


class StepTab(Tab):
    """Bytes by category through one step."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,l", "move(1)", "right", id="step.right", tooltip="The cursor one point to the right"),
        Binding("left,h", "move(-1)", "left", id="step.left", tooltip="The cursor one point to the left"),
        Binding("shift+right,L", "move(10)", "right", id="step.far_right", tooltip="Ten points to the right"),
        Binding("shift+left,H", "move(-10)", "left", id="step.far_left", tooltip="Ten points to the left"),
        Binding("home", "edge(-1)", "begin", id="step.begin", tooltip="The step's begin"),
        Binding("end", "edge(1)", "end", id="step.end", tooltip="The step's end"),
        Binding("p,k", "peak", "peak", id="step.peak", tooltip="The cursor to the peak"),
        Binding("n", "phase(1)", "phase", id="step.next_phase", tooltip="Where the next phase begins"),
        Binding("N", "phase(-1)", "phase", id="step.previous_phase", tooltip="Where a phase before began"),
        Binding("plus,equals_sign", "zoom(1)", "zoom", id="step.zoom_in", tooltip="Enlarge around the cursor"),
        Binding("minus", "zoom(-1)", "zoom", id="step.zoom_out", tooltip="Show more of the step"),
        Binding("0", "whole", "all", id="step.whole", tooltip="Show the whole step"),
    ]
    HINTS = (("← →", "read"), ("p", "peak"), ("n N", "phase"), ("+ -", "zoom"), ("0", "all"))

    def __init__(self) -> None:
        super().__init__()
        self._deep: DeepLook | None = None
        self._trace: TraceRecord | None = None
        self._zoom = 1
        self.reading: Reading | None = None

    @property
    def ready(self) -> bool:
        return self._deep is not None and self._trace is not None and self.reading is not None

    def take(self, snapshot: Snapshot) -> None:
        """Of a newer look the cursor reads the same time."""
        deep = snapshot.deep
        trace = deep.trace if deep is not None and deep.trace is not None and course.sound(deep.trace) else None
        before, reading = self._trace, self.reading
        self._deep, self._trace = deep, trace
        if trace is None:
            self.reading = None
        elif trace is not before:
            at = trace.peak
            if before is not None and reading is not None:
                at = course.nearest(trace.times, before.times[reading.at])
            window = course.around(trace, self._middle(trace, reading), self._zoom)
            self.reading = Reading(window=course.holding(trace, window, trace.times[at]), at=at)

    def _middle(self, trace: TraceRecord, reading: Reading | None) -> float:
        window = course.whole(trace) if reading is None else reading.window
        return (window.start + window.end) / 2

    def state(self) -> tuple[object, ...]:
        return (self._deep, self.reading)

    def draw(self, width: int, height: int, view: View) -> list[Row]:
        assert self._deep is not None
        assert self._trace is not None
        assert self.reading is not None
        return tab(self._deep, self._trace, self.reading, width, height, view)

    # -- the cursor --------------------------------------------------------------------------------------------------

    @property
    def _lead(self) -> int:
        """Cells before the graph."""
        return axis_width(self._view) + (1 if self.size.width >= 40 else 0)

    @property
    def _columns(self) -> int:
        return max(1, self.size.width - self._lead - (1 if self.size.width >= 40 else 0))

    def _go(self, at: int) -> None:
        if self._trace is None or self.reading is None:
            return
        at = max(0, min(at, len(self._trace.times) - 1))
        window = course.holding(self._trace, self.reading.window, self._trace.times[at])
        self.reading = Reading(window=window, at=at)
        self.draw_again()

    def action_move(self, by: int) -> None:
        """So many points further."""
        if self._trace is not None and self.reading is not None:
            self._go(course.moved(self._trace, self.reading.window, self._columns, self.reading.at, by))

    def action_edge(self, side: int) -> None:
        """To one end of the step."""
        if self._trace is not None:
            self._go(len(self._trace.times) - 1 if side > 0 else 0)

    def action_peak(self) -> None:
        """To the highest point."""
        if self._trace is not None:
            self._go(self._trace.peak)

    def action_phase(self, direction: int) -> None:
        """To where a phase begins."""
        if self._trace is None or self.reading is None:
            return
        here = self._trace.times[self.reading.at]
        begins = [span.start for span in course.spans(self._trace)]
        ahead = [at for at in begins if (at > here if direction > 0 else at < here)]
        if ahead:
            self._go(course.first_from(self._trace.times, min(ahead) if direction > 0 else max(ahead)))

    # -- the glass ---------------------------------------------------------------------------------------------------

    def action_zoom(self, direction: int) -> None:
        """Twice as large, or half."""
        zoom = self._zoom * 2 if direction > 0 else self._zoom // 2
        self._enlarge(max(1, min(zoom, course.CLOSEST)))

    def action_whole(self) -> None:
        """All of the step."""
        self._enlarge(1)

    def _enlarge(self, zoom: int) -> None:
        if self._trace is None or self.reading is None:
            return
        self._zoom, at = zoom, self.reading.at
        self.reading = Reading(window=course.around(self._trace, self._trace.times[at], zoom), at=at)
        self.draw_again()

    # -- the mouse ---------------------------------------------------------------------------------------------------

    def on_click(self, event: events.Click) -> None:
        """The cursor goes there."""
        column = event.x - self._lead
        if self._trace is None or self.reading is None or not 0 <= column < self._columns:
            return
        point = course.slots(self._trace, self.reading.window, self._columns)[column]
        if point is not None:
            self._go(point)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Enlarge."""
        event.stop()
        self.action_zoom(1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Show more."""
        event.stop()
        self.action_zoom(-1)
