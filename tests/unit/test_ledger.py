"""The parts are the whole, in integers, whatever two sources read at two instants say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memtop.model import categories
from memtop.model.ledger import Counters, Whole, known, on_cpu, on_cuda
from memtop.model.records import DeviceProcess, DeviceRecord

SIZE = st.integers(0, 1 << 42)
MAYBE = st.none() | SIZE
TENSORS = st.fixed_dictionaries(dict.fromkeys(categories.TENSORS, MAYBE))


def device(name: str, **fields: object) -> DeviceRecord:
    return DeviceRecord(t=1.0, device=name, **fields)  # type: ignore[arg-type]


def check(whole: Whole, total: int | None) -> None:
    assert whole.total == total
    if total is not None:
        assert sum(value for value in whole.bytes.values() if value is not None) == total
        assert (whole.bytes["free"] or 0) >= 0


@given(TENSORS, SIZE, MAYBE, MAYBE, MAYBE, MAYBE)
def test_main_memory(
    tensors: dict[str, int | None],
    then: int,
    total: int | None,
    free: int | None,
    pss: int | None,
    rss: int | None,
) -> None:
    host = device("cpu", memory_total=total, memory_free=free, tree_pss=pss, tree_rss=rss)
    whole = on_cpu(tensors, host, then)
    assert set(whole.bytes) == set(categories.CPU)
    check(whole, None if free is None else total)
    assert (whole.bytes["unbacked"] or 0) <= 0 <= (whole.bytes["runtime"] or 0)
    if whole.total is not None and pss is None and rss is None:
        assert whole.bytes["runtime"] is whole.bytes["unbacked"] is None
        assert any("other_processes holds it" in note for note in whole.notes)


@given(TENSORS, st.none() | st.lists(SIZE, min_size=4, max_size=4), MAYBE, MAYBE, st.lists(MAYBE, max_size=3), MAYBE)
def test_a_gpu(
    tensors: dict[str, int | None],
    counted: list[int] | None,
    total: int | None,
    free: int | None,
    ours: list[int | None],
    then: int | None,
) -> None:
    counters = None
    if counted is not None:
        requested, allocated, active, reserved = sorted(counted)
        counters = Counters(requested=requested, allocated=allocated, active=active, reserved=reserved)
    processes = [DeviceProcess(pid=1, name=None, bytes=one, ours=True) for one in ours]
    gpu = device("cuda:0", memory_total=total, memory_free=free, processes=processes)
    whole = on_cuda(tensors, counters, gpu, then)
    assert set(whole.bytes) == set(categories.CUDA)
    check(whole, None if free is None else total)
    if counters is not None:
        rounding = whole.bytes["rounding"]
        assert rounding is not None
        assert counters.allocated == known(whole.bytes) + rounding
    if whole.total is not None and (not ours or None in ours or (then is None and counters is not None)):
        assert whole.bytes["context"] is None
        assert any("context is unknown" in note for note in whole.notes)


def test_a_host_by_hand() -> None:
    host = device("cpu", memory_total=1000, memory_free=600, tree_pss=150)
    whole = on_cpu({"parameters": 50, "activations": 20}, host, 40)
    # 150 of the tree less the 40 of tensors then; 1000 - 600 - 150 are others'; the 30 more of tensors were free.
    assert {n: whole.bytes[n] for n in categories.CPU_AROUND} == {
        "runtime": 110,
        "unbacked": 0,
        "other_processes": 250,
        "free": 570,
    }


def test_tensors_that_are_not_resident() -> None:
    host = device("cpu", memory_total=1000, memory_free=600, tree_pss=150)
    whole = on_cpu({"parameters": 500}, host, 500)
    assert (whole.bytes["runtime"], whole.bytes["unbacked"], whole.bytes["free"]) == (0, -350, 600)


def test_a_gpu_by_hand() -> None:
    counters = Counters(requested=100, allocated=128, active=130, reserved=200)
    processes = [DeviceProcess(pid=1, name=None, bytes=450, ours=True)]
    gpu = device("cuda:0", memory_total=2000, memory_free=1400, processes=processes)
    whole = on_cuda({"parameters": 90}, counters, gpu, 200)
    around = {n: whole.bytes[n] for n in ("other_tensors", *categories.CUDA_AROUND)}
    assert around == {
        "other_tensors": 10,
        "rounding": 28,
        "pending_free": 2,
        "cached": 70,
        "context": 250,
        "other_processes": 150,
        "free": 1400,
    }


def test_nvml_read_before_the_probes_first_word_leaves_the_context_unknown() -> None:
    counters = Counters(requested=100, allocated=128, active=130, reserved=200)
    processes = [DeviceProcess(pid=1, name=None, bytes=450, ours=True)]
    gpu = device("cuda:0", memory_total=2000, memory_free=1400, processes=processes)
    whole = on_cuda({"parameters": 90}, counters, gpu, None)
    assert whole.bytes["context"] is None, "450 may hold the 200 that torch has now, or none of them"
    assert (whole.bytes["other_processes"], whole.bytes["free"]) == (400, 1400)
    assert any("before torch's reserve" in note for note in whole.notes)


def test_nothing_read_yet() -> None:
    for whole in (on_cpu({}, None, 0), on_cuda({}, None, None, None)):
        assert whole.total is None
        assert set(whole.bytes.values()) == {None}
        assert whole.notes
