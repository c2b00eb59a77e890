"""What is kept of a log, and how it is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from memtop.model.course import Course
from memtop.model.ledger import known
from memtop.model.logbook import Book, books, is_whole, tensors
from memtop.sinks.base import SinkError
from memtop.sinks.loading import load
from tests.unit import logs
from tests.unit import sample_records as sample


@given(st.lists(st.tuples(st.floats(-10, 1e15), st.integers(0, 2**40)), max_size=60), st.integers(1, 8))
def test_a_course_keeps_few_records_and_the_highest_of_all(points: list[tuple[float, int]], most: int) -> None:
    course, given_records = Course(most), []
    for t, size in points:
        record = sample.memory(t=t, bytes={"parameters": size})
        given_records.append(record)
        course.add(record)
    kept = course.records()
    assert len(kept) <= most
    assert all(any(one is record for record in given_records) for one in kept)  # as they were: parts still sum
    assert [one.t for one in kept] == sorted(one.t for one in kept)
    top = max((known(record.bytes) for record in given_records), default=0)
    assert max((known(record.bytes) for record in kept), default=0) == top


def test_a_real_log_is_read_whole() -> None:
    log = load(str(logs.CNN))
    (book,) = log.books
    assert log.note is None
    assert book.name == "cnn"
    assert book.focus == (0, "cpu")
    assert book.steps == 40
    assert book.batch_size == 4
    assert book.top is not None
    assert book.top.moment == "peak"
    assert book.top.bytes == logs.peak()
    assert tensors(book.top) == sum(logs.peak()[name] for name in sample.CATEGORIES)


def test_the_median_step_is_of_all_steps() -> None:
    book = Book(None)
    for number, (seconds, steps) in enumerate([(9.0, 1), (0.5, 3), (0.1, 6)]):
        book.add(replace(sample.step(number=number + 1), seconds=seconds, steps=steps))
    assert book.step_seconds == 0.1
    assert book.samples_per_second == pytest.approx(640)


def test_a_log_that_was_cut_off_is_read_up_to_its_last_whole_line(tmp_path: Path) -> None:
    log = load(logs.cut_off(tmp_path / "cut.jsonl"))
    assert log.torn
    assert log.note == "cut off: its last line is not whole"
    (book,) = log.books
    assert book.end is None
    assert book.steps == 40


def test_each_run_of_a_session_is_a_book_and_one_that_never_stepped_is_none() -> None:
    found = list(books([sample.run(), sample.run(), sample.step(number=3), sample.run(), sample.memory()]))
    assert [book.steps for book in found] == [3, 0]
    assert found[1].highest
    assert len(list(books([sample.run()]))) == 1


def test_a_rank_that_holds_more_is_where_to_look() -> None:
    book = Book(None)
    book.add(sample.memory())
    book.add(replace(sample.memory(bytes={"parameters": 1 << 30}), rank=1))
    assert book.focus == (1, "cpu")


@pytest.mark.parametrize(
    "changes",
    [
        {"times": [0.0, 0.1]},
        {"peak": 3},
        {"peak": -1},
        {"times": [0.2, 0.1, 0.0]},
        {"points": [[1, 2], [1], [1, 2]]},
        {"times": [], "points": []},
    ],
)
def test_a_trace_whose_parts_contradict_each_other_is_left_out(changes: dict[str, object]) -> None:
    trace = replace(sample.trace(), **changes)  # type: ignore[arg-type]
    assert not is_whole(trace)
    book = Book(None)
    book.add(trace)
    assert not book.traces


def test_no_string_of_a_log_reaches_a_terminal_as_it_is(tmp_path: Path) -> None:
    def spoil(record: logs.Line) -> None:
        if record["kind"] == "run":
            record["command"] = ["\x1b[31mred\x1b]0;title\x07\nnext"]

    (book,) = load(logs.write(tmp_path / "x.jsonl", logs.lines(), spoil)).books
    assert book.run is not None
    assert book.run.command == ["red next"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("none.jsonl", None, "can't be read: no such file or directory"),
        ("text.jsonl", b"hello\n", "holds no record of a run"),
        ("empty.jsonl", b"", "holds no record of a run"),
        ("run.csv", b"t,rank\n0,0\n", "is CSV, which holds memory alone"),
        ("binary.jsonl", bytes(range(256)) * 9, "holds no record of a run"),
    ],
)
def test_what_is_no_log_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SinkError, match=says) as caught:
        load(str(path))
    assert "\n" not in str(caught.value)
