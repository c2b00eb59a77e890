"""A stream of bytes to lines, however it is cut, and whatever a peer sends."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from memtop.protocol.framing import LineSplitter

LIMIT = 5


@given(st.binary(max_size=60).map(lambda raw: raw.replace(b"a", b"\n")), st.lists(st.integers(0, 60), max_size=8))
def test_the_cuts_make_no_difference(stream: bytes, cuts: list[int]) -> None:
    ends = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    splitter = LineSplitter()
    found = [line for start, end in itertools.pairwise(ends) for line in splitter.feed(stream[start:end])]
    assert found == stream.split(b"\n")[:-1]
    assert splitter.oversized == 0


@given(st.lists(st.text("xyz", max_size=12)), st.integers(1, 20))
def test_lines_over_the_limit_are_dropped_and_counted(lines: list[str], piece: int) -> None:
    stream = "".join(line + "\n" for line in lines).encode()
    splitter = LineSplitter(LIMIT)
    found = [line for at in range(0, len(stream), piece) for line in splitter.feed(stream[at : at + piece])]
    assert found == [line.encode() for line in lines if len(line) <= LIMIT]
    assert splitter.oversized == sum(len(line) > LIMIT for line in lines)


def test_a_line_that_never_ends_is_not_kept() -> None:
    splitter = LineSplitter(LIMIT)
    for _ in range(1000):
        assert splitter.feed(b"x" * 4) == []
        assert len(splitter._rest) <= LIMIT
    assert splitter.feed(b"\nfine\n") == [b"fine"]
    assert splitter.oversized == 1
