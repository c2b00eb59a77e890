"""A step's points, columns and phases: nothing that was high is lost at any width."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from memtop.model.deep_records import Mark, TraceRecord
from memtop.tui.draw.trace import (
    Window,
    around,
    bands,
    column_of,
    holding,
    moved,
    nearest,
    phase_at,
    slots,
    spans,
    ticks,
    totals,
    whole,
)

from .deep_fakes import cnn_look, stack_look

STACK = stack_look(200, 8).trace
CNN = cnn_look().trace
assert STACK is not None
assert CNN is not None


@st.composite
def traces(draw: st.DrawFn) -> TraceRecord:
    gaps = draw(st.lists(st.floats(0, 0.01), min_size=1, max_size=120))
    times = [sum(gaps[: place + 1]) for place in range(len(gaps))]
    points = [[draw(st.integers(0, 10**9)), draw(st.integers(-5, 10**6))] for _ in times]
    sums = [sum(point) for point in points]
    return TraceRecord(
        t=1.0, device="cpu", step=2, seconds=times[-1], columns=["activations", "other_tensors"], times=times,
        points=points, marks=[Mark(at=0.0, name="forward")], peak=sums.index(max(sums)), changes=len(times) - 1,
    )  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(trace=traces(), width=st.integers(1, 250))
def test_the_peak_is_seen_at_any_width(trace: TraceRecord, width: int) -> None:
    found = slots(trace, whole(trace), width)
    assert len(found) == width
    sums = totals(trace)
    assert max(sums[point] for point in found if point is not None) == max(sums)


@settings(max_examples=200, deadline=None)
@given(trace=traces(), width=st.integers(1, 250), start=st.floats(0, 1), end=st.floats(0, 1))
def test_every_column_shows_its_highest_point(trace: TraceRecord, width: int, start: float, end: float) -> None:
    every = whole(trace).span
    window = Window(min(start, end) * every, max(start, end) * every)
    if window.span <= 0:
        return
    sums = totals(trace)
    inside = [place for place, at in enumerate(trace.times) if window.start <= at <= window.end]
    found = [place for place in slots(trace, window, width) if place is not None]
    assert not inside or max(sums[place] for place in inside) in [sums[place] for place in found]
    assert all(before <= after for before, after in pairwise(found)), "time goes to the right"


def test_a_column_without_a_point_shows_what_was_there_before() -> None:
    trace = replace(CNN, times=[0.0, 0.010], points=CNN.points[:2], seconds=0.010, peak=1)
    assert slots(trace, Window(0.0, 0.010), 5) == [0, 0, 0, 0, 1]
    late = replace(trace, times=[0.005, 0.010])
    assert slots(late, Window(0.0, 0.010), 5)[:2] == [None, None]


@settings(max_examples=50, deadline=None)
@given(trace=traces(), width=st.integers(1, 200), by=st.sampled_from([-10, -1, 1, 10]), data=st.data())
def test_the_cursor_always_moves_on_and_stays_inside(
    trace: TraceRecord, width: int, by: int, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(trace.times) - 1))
    to = moved(trace, whole(trace), width, at, by)
    assert 0 <= to < len(trace.times)
    assert (to - at) * by > 0 or to in (0, len(trace.times) - 1)


def test_the_cursor_can_reach_every_point_when_enlarged() -> None:
    at, seen = 0, [0]
    window = around(CNN, 0.0, 64)
    while at < len(CNN.times) - 1:
        at = moved(CNN, window, 100, at, 1)
        window = holding(CNN, window, CNN.times[at])
        seen.append(at)
    assert seen == list(range(len(CNN.times)))


def test_a_window_holds_what_it_must_and_never_leaves_the_step() -> None:
    every = whole(STACK)
    for zoom in (1, 2, 16, 4096):
        for at in (0.0, every.end / 3, every.end):
            window = around(STACK, at, zoom)
            assert window.start >= 0
            assert window.end <= every.end * 1.000001
            assert column_of(at, window, 80) is not None
            assert abs(window.span - every.span / zoom) < 1e-12
    half = around(STACK, 0.0, 2)
    assert column_of(every.end, half, 80) is None
    assert column_of(every.end, holding(STACK, half, every.end), 80) == 79


def test_phases_are_those_of_the_marks_and_recomputing_is_seen() -> None:
    names = [span.name for span in spans(STACK)]
    assert names == ["forward", *["recompute", "backward"] * 8, "optimizer"]
    band = bands(STACK, whole(STACK), 200)
    assert None not in band
    runs = [name for place, name in enumerate(band) if not place or band[place - 1] != name]
    assert runs == names
    assert phase_at(STACK, STACK.marks[1].at) == "recompute"
    assert phase_at(STACK, -1.0) is None


def test_a_column_has_the_phase_that_takes_most_of_it() -> None:
    marks = [Mark(at=0.0, name="data"), Mark(at=0.001, name="forward"), Mark(at=0.011, name="end")]
    trace = replace(CNN, marks=marks, seconds=0.020, times=[0.0], points=CNN.points[:1], peak=0)
    assert bands(trace, whole(trace), 4) == ["forward", "forward", "forward", None]
    assert bands(trace, whole(trace), 1) == ["forward"]


def test_times_on_the_axis_are_round_and_apart() -> None:
    for span in (1e-5, 0.0137, 2.0, 50.0):
        found = ticks(Window(0.0, span), 100, 14)
        columns = [column for column, _ in found]
        assert 2 <= len(found) <= 8
        assert all(b - a >= 13 for a, b in pairwise(columns))


def test_the_nearest_point() -> None:
    assert [nearest([0.0, 1.0, 2.0], at) for at in (-1, 0.4, 0.6, 1.9, 9)] == [0, 0, 1, 2, 2]
    assert nearest([], 1.0) == 0
