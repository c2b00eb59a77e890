"""Limits on the process itself: read where they are set, and what of them tensors can have."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtop.model.forecast import Affine, peak_at
from memtop.model.process_limit import SHARE, ProcessLimit, kept, room, tightest
from memtop.probe import limits
from memtop.probe.limits import Reading

MIB = 1 << 20


def limit(size: int, beside: int, name: str = "RLIMIT_AS") -> ProcessLimit:
    return ProcessLimit(name=name, bytes=size, beside=beside)


def test_nothing_is_opened_where_no_limit_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    monkeypatch.setattr(Path, "read_text", lambda *_: 1 / 0)
    assert limits.read() == []
    assert limits.tightest() is None


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize("name", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_what_is_used_is_what_the_kernel_holds_against_it(name: str) -> None:
    """A mapping that fits by this reading is let through, a larger one is not."""
    program = f"""
import mmap, resource, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from memtop.probe import limits
resource.setrlimit(resource.{name}, (2 << 30, resource.RLIM_INFINITY))
(found,) = limits.read()
assert (found.name, found.bytes) == ({name!r}, 2 << 30)
left = found.bytes - found.used
kept = mmap.mmap(-1, left - (1 << 20), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
try:
    mmap.mmap(-1, 2 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
except OSError:
    print("refused", limits.read()[0].used - found.used >= left - (1 << 20))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("refused True\n", "")


def test_what_is_beside_tensors_is_the_least_of_the_moments() -> None:
    looked = [[Reading("RLIMIT_AS", 900, 500)], [Reading("RLIMIT_AS", 900, 620)], [Reading("RLIMIT_AS", 900, 580)]]
    assert limits.beside(looked, [90, 250, 100]) == [{"name": "RLIMIT_AS", "bytes": 900, "beside": 370}]
    assert limits.beside([[], []], [1, 2]) == []
    changed = [[Reading("RLIMIT_AS", 900, 500)], [Reading("RLIMIT_AS", 800, 500)]]
    assert limits.beside(changed, [0, 0]) == [], "one that was set in between says nothing"
    assert limits.beside([[Reading("RLIMIT_AS", 9, 5)]], [7])[0]["beside"] == 0


LINES = (Affine(phase="backward", fixed_bytes=10 * MIB, bytes_per_sample=MIB),)


def test_what_the_heap_may_keep_is_allowed_for() -> None:
    """Blocks of 1/4 MiB a sample: in the heap up to 127 samples, mapped one by one from 128 on."""
    wide = limit(1100 * MIB, 100 * MIB)
    free = room(wide, LINES, 0.0, [], 8)
    assert (free.kept, free.max_batch) == (64 * MIB, 1000 - 64 - 10)
    blocks = [(2 * MIB, 8 * MIB)]
    assert room(wide, LINES, 0.0, blocks, 8).max_batch == 1000 - 64 - 10, "larger than any that lies in the heap"
    tight = room(limit(248 * MIB, 100 * MIB), LINES, 0.0, blocks, 8)
    assert tight.max_batch == (148 * 7 // 8 - 10) // 2, "as much again as a sample has"
    assert tight.kept == 148 * MIB // 8 + (tight.max_batch or 0) * MIB
    assert tight.bytes == 148 * MIB - tight.kept


def test_a_share_of_a_gpu_is_none_of_the_heaps() -> None:
    share = limit(110 * MIB, 2 * MIB, SHARE)
    found = room(share, LINES, 0.0, [(2 * MIB, 8 * MIB)], 8)
    assert (found.kept, found.max_batch) == (108 * MIB // 10, 87), "but for pieces"
    assert found.words().endswith(
        "lets torch reserve: 110 MiB less 10.8 MiB for what its allocator keeps in pieces, an estimate"
    )
    assert SHARE == limits.SHARE, "what the probe calls it"


def test_the_heap_stays_in_a_phase_in_which_its_blocks_are_gone() -> None:
    """100 MiB of blocks in backward; the optimizer has 300 MiB of its own, and the heap of 200 MiB beside them."""
    lines = [*LINES, Affine(phase="optimizer", fixed_bytes=300 * MIB, bytes_per_sample=0)]
    wide = limit(1100 * MIB, 100 * MIB)
    assert kept(wide, lines, [(MIB // 4, 8 * MIB)], 8, 100) == (200 + 64) * MIB
    assert kept(wide, lines, [(4 * MIB, 8 * MIB)], 8, 100) == 64 * MIB, "mapped one by one"
    assert kept(wide, LINES, [(MIB // 4, 8 * MIB)], 8, 100) == (100 + 64) * MIB, "there they are alive"


@given(
    left=st.integers(0, 1 << 34),
    lines=st.lists(st.tuples(st.integers(0, 1 << 32), st.integers(0, 1 << 24)), min_size=1, max_size=4),
    blocks=st.lists(st.tuples(st.integers(1, 1 << 26), st.integers(1, 1 << 28)), max_size=6),
    batch=st.integers(1, 512),
)
def test_every_batch_up_to_the_answer_fits_and_the_next_does_not(
    left: int, lines: list[tuple[int, int]], blocks: list[tuple[int, int]], batch: int
) -> None:
    known = [Affine(phase="forward", fixed_bytes=fixed, bytes_per_sample=grows) for fixed, grows in lines]
    found = room(limit(left + 7, 7), known, 0.02, blocks, batch)

    def need(at: int) -> float:
        return peak_at(known, at) * 1.02 + kept(limit(left, 0), known, blocks, batch, at)

    assert found.bytes >= 0
    if found.max_batch is None:
        return
    most = found.max_batch
    assert all(need(at) <= left + 1 for at in {1, most // 3, most // 2, most - 1, most} if 1 <= at <= most)
    assert need(most + 1) > left - 1


def test_the_lower_of_device_and_process_decides() -> None:
    wide, tight = (
        room(limit(9000 * MIB, 0), LINES, 0.0, [], 8),
        room(limit(1500 * MIB, 0, "RLIMIT_DATA"), LINES, 0.0, [], 8),
    )
    assert tightest([], 700, 3) is None
    assert tightest([wide, tight], 4000 * MIB, 3990) is tight
    assert tightest([wide, tight], 4 * MIB, 0) is None
    assert tightest([wide], None, None) is wide
    flat = room(limit(900 * MIB, 0), [Affine(phase="forward", fixed_bytes=9, bytes_per_sample=0)], 0.0, [], 8)
    assert flat.max_batch is None
    assert tightest([flat], 4000 * MIB, None) is flat
    assert tightest([flat], 4 * MIB, None) is None


def test_the_words_name_the_limit_and_what_is_taken_off_it() -> None:
    words = room(limit(1500 * MIB, 500 * MIB), LINES, 0.0, [], 8).words()
    assert "RLIMIT_AS" in words
    assert "less 500 MiB that are mapped beside tensors and 64.0 MiB" in words
    assert "estimate" in words
    assert room(limit(100, 200), LINES, 0.0, [], 8).max_batch == 0
