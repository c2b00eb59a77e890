"""The probe's picture of running out of memory: on CUDA by what its observer and snapshot document, no GPU at hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from memtop.probe import oom
from memtop.probe.inputs import Inputs
from memtop.probe.oom import Ooms, asked, is_oom
from memtop.probe.places import Places
from memtop.probe.syncs import Syncs
from memtop.probe.tracker import Tracker

CPU = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "4000000000000000 bytes. Error code 12 (Cannot allocate memory)"
)
CUDA = "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 139.80 GiB of which 1.02 GiB is"


def test_memory_errors_are_told_by_type_first_and_by_torchs_words_last() -> None:
    assert is_oom(torch.OutOfMemoryError("anything"))
    assert is_oom(MemoryError())
    assert is_oom(RuntimeError(CPU))
    assert is_oom(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))
    assert not is_oom(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_oom(ValueError(CPU))
    assert not is_oom(None)


def test_what_was_asked_for() -> None:
    assert asked(CPU) == 4 * 10**15
    assert asked(CUDA) == 5 << 29
    assert asked("CUDA out of memory. Tried to allocate 20.00 MiB.") == 20 << 20
    assert asked("no figure") is None
    assert asked("Unable to allocate 7.28 TiB for an array with shape (1000000000000,) and data type float64") == round(
        7.28 * 2**40
    )


def test_a_workers_line_is_in_the_words_that_its_exception_has_here() -> None:
    text = """Caught RuntimeError in DataLoader worker process 0.
Original Traceback (most recent call last):
  File "/v/lib/python3.11/site-packages/torch/utils/data/_utils/worker.py", line 358, in _worker_loop
    data = fetcher.fetch(index)
  File "/home/a/train.py", line 7, in __getitem__
    torch.empty(3 * 10**9)
  File "/v/lib/python3.11/site-packages/torch/x.py", line 3, in empty
RuntimeError: DefaultCPUAllocator: can't allocate memory: you tried to allocate 12000000000 bytes."""
    assert oom._in_words(text) == ("/home/a/train.py", 7, "__getitem__")
    assert oom._in_words(CPU) is None
    assert asked(text) == 12 * 10**9


STATS = {
    "requested_bytes": {"all": {"current": 90}},
    "allocated_bytes": {"all": {"current": 96}},
    "active_bytes": {"all": {"current": 96}},
    "reserved_bytes": {"all": {"current": 700}},
    "num_alloc_retries": 1,
}
SNAPSHOT = [
    {"device": 0, "segment_type": "large", "blocks": [
        {"size": 96, "state": "active_allocated"}, {"size": 300, "state": "inactive"},
        {"size": 8, "state": "active_pending_free"}, {"size": 200, "state": "inactive"},
    ]},
    {"device": 0, "segment_type": "small", "blocks": [{"size": 400, "state": "inactive"}]},
    {"device": 1, "segment_type": "large", "blocks": [{"size": 999, "state": "inactive"}]},
]  # fmt: skip


class _Link:
    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send(self, record: dict[str, Any]) -> None:
        self.sent.append(record)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """torch as it stands once CUDA has begun; what was attached to its allocator."""
    attached: list[Any] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch._C, "_cuda_memoryStats", lambda device: STATS, raising=False)
    monkeypatch.setattr(torch._C, "_cuda_attach_out_of_memory_observer", attached.append, raising=False)
    monkeypatch.setattr(torch.cuda, "memory_snapshot", lambda: SNAPSHOT)
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda device: 0.8, raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=1000))
    return attached


def watcher(step: list[int]) -> tuple[Ooms, _Link]:
    link, inputs = _Link(), Inputs()
    return Ooms(link, Tracker(inputs), inputs, lambda: step[0]), link  # type: ignore[arg-type]


def test_cudas_observer_is_attached_once_and_only_after_cuda_has_begun(cuda: list[Any]) -> None:
    ooms = watcher([3])[0]
    ooms.attach()
    ooms.attach()
    assert len(cuda) == 1


def test_nothing_is_attached_where_cuda_has_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []
    monkeypatch.setattr(torch._C, "_cuda_attach_out_of_memory_observer", called.append, raising=False)
    watcher([0])[0].attach()
    assert called == []


def test_the_observers_picture(cuda: list[Any]) -> None:
    ooms, link = watcher([3])
    ooms.attach()
    cuda[0](0, 2 << 20, 1000, 450)
    [told] = [one["data"] for one in link.sent]
    assert (told["device"], told["step"], told["asked"], told["fatal"]) == ("cuda:0", 4, 2 << 20, False)
    assert told["device_free"] == 100, "0.8 of 1000 less 700 reserved: the person's share, not the driver's 450"
    assert told["limit"] == {"name": "memory fraction", "bytes": 800, "used": 700}
    assert (told["cached"], told["largest_free"]) == (900, 300), "of the large pool, of this device"
    assert told["place"]["file"] == __file__
    assert told["allocator"]["reserved"] == 700


def test_a_share_that_does_not_bind_is_no_limit(cuda: list[Any]) -> None:
    ooms, link = watcher([3])
    ooms.attach()
    cuda[0](0, 2 << 20, 1000, 60)
    [told] = [one["data"] for one in link.sent]
    assert (told["device_free"], told["limit"]) == (60, None)


def test_a_small_request_is_served_from_the_small_pool(cuda: list[Any]) -> None:
    assert oom._fragments(0, 512) == {"cached": 900, "largest_free": 400}


def test_a_search_for_the_largest_batch_is_not_told_again_and_again(cuda: list[Any]) -> None:
    step = [3]
    ooms, link = watcher(step)
    ooms.attach()
    for number in range(10):
        step[0] = 3 + number
        cuda[0](0, 2 << 20, 1000, 450)
    assert len(link.sent) == 1


def test_an_observer_that_breaks_raises_nothing_into_the_allocator(
    cuda: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ooms, link = watcher([3])
    ooms.attach()
    monkeypatch.setattr(Tracker, "held", lambda self: 1 / 0)
    cuda[0](0, 2 << 20, 1000, 450)
    assert link.sent == []


def where(**found: Any) -> oom.Where:
    return oom.Where(**({"place": None, "module": 0, "given": [], "named": []} | found))


def test_a_batch_of_one_dimension_is_told_by_a_name_or_by_what_the_model_was_given() -> None:
    inputs = Inputs()
    old = torch.zeros(64, dtype=torch.long)
    inputs.took(old, 0)
    stray, batch = torch.zeros(900, dtype=torch.long), torch.zeros(128, dtype=torch.long)
    assert oom._batch([old, stray, batch], inputs, where()) == [], "it could be anything"
    assert oom._batch([old, stray, batch], inputs, where(named=[old, batch]))[0] is batch
    assert oom._batch([old, stray, batch], inputs, where(given=[batch]))[0] is batch


def test_the_batch_that_failed_is_told_from_the_old_one_and_from_the_dataset() -> None:
    inputs = Inputs()
    old = torch.zeros(4, 8)
    inputs.took(old, 0)
    data = torch.utils.data.TensorDataset(torch.zeros(640, 8))
    new, weights = torch.zeros(16, 8), torch.zeros(900, 8, requires_grad=True)
    found = oom._batch([old, data.tensors[0], weights, new], inputs, where())
    assert [one is new for one in found] == [True]
    same = torch.zeros(4, 8)
    assert oom._batch([old, new, same], inputs, where())[0] is same
    longer = torch.zeros(90, 9)
    assert oom._batch([old, new, longer], inputs, where(given=[torch.ones(3), longer]))[0] is longer, (
        "what the model was called with"
    )


class _On:
    """As much of a tensor as the rules for waits ask for."""

    def __init__(self, kind: str) -> None:
        self.device = torch.device(kind)


def _mask(kind: str, dtype: torch.dtype = torch.bool) -> Any:
    return SimpleNamespace(device=torch.device(kind), dtype=dtype, numel=lambda: 1)


def _operator(name: str) -> Any:
    return SimpleNamespace(_schema=SimpleNamespace(name=f"aten::{name}"))


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "result", "waits"),
    [
        ("_local_scalar_dense", (_On("cuda"),), {}, 1.0, True),
        ("_to_copy", (_On("cuda"),), {}, _On("cpu"), True),
        ("_to_copy", (_On("cuda"),), {"non_blocking": True}, _On("cpu"), False),
        ("_to_copy", (_On("cpu"),), {}, _On("cuda"), True),
        ("_to_copy", (_On("cpu"),), {"non_blocking": True}, _On("cuda"), False),
        ("_to_copy", (_On("cuda"),), {}, _On("cuda"), False),
        ("_to_copy", (_On("meta"),), {}, _On("cpu"), False),
        ("_to_copy", (_On("cpu"),), {}, _On("cpu"), False),
        ("copy_", (_On("cpu"), _On("cuda")), {}, None, True),
        ("copy_", (_On("cpu"), _On("cuda"), True), {}, None, False),
        ("copy_", (_On("cuda"), _On("cpu")), {}, None, True),
        ("copy_", (_On("cuda"), _On("cpu"), True), {}, None, False),
        ("nonzero", (_On("cuda"),), {}, _On("cuda"), True),
        ("nonzero", (_On("cpu"),), {}, _On("cpu"), False),
        ("index", (_On("cuda"), [None, _mask("cuda")]), {}, _On("cuda"), True),
        ("index", (_On("cuda"), [_mask("cuda", torch.int64)]), {}, _On("cuda"), False),
        ("index_put_", (_On("cuda"), [_mask("cuda")], _mask("cuda")), {}, _On("cuda"), True),
        ("index_put_", (_On("cuda"), [_mask("cuda")], _mask("cpu")), {}, _On("cuda"), False),
        ("repeat_interleave", (_On("cuda"),), {}, _On("cuda"), True),
        ("repeat_interleave", (_On("cuda"),), {"output_size": 9}, _On("cuda"), False),
        ("_unique2", (_On("cuda"),), {}, _On("cuda"), True),
    ],
)
def test_what_makes_the_cpu_wait(name: str, args: Any, kwargs: Any, result: Any, waits: bool) -> None:
    syncs = Syncs(Places())
    syncs.ran(_operator(name), args, kwargs, result, None, 2, 5_000_000)
    told = syncs.told(9)
    assert (told is not None) == waits
    if told is not None:
        row = told[1]["rows"][0]
        assert (row["operator"], row["device"], row["count"], row["seconds"]) == (name, "cuda", 1, 0.005)
