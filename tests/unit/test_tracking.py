"""`memtop.track()` where nobody watches, and its marks where somebody does."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

import memtop

torch = pytest.importorskip("torch", reason="marks are of torch's tensors")

from torch.overrides import TorchFunctionMode  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from memtop import probe  # noqa: E402
from memtop.probe import preload, runtime, tracking  # noqa: E402
from memtop.protocol import records  # noqa: E402
from memtop.protocol.framing import LIMIT  # noqa: E402

F32 = "float32"


class Link:
    """A transport that keeps what it is given."""

    def __init__(self) -> None:
        self.alive = True
        self.sent: list[dict[str, Any]] = []

    def send(self, record: dict[str, Any]) -> None:
        self.sent.append(json.loads(json.dumps(record)))

    def last(self) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        """The newest mark: what came, and what went."""
        data = self.sent[-1]["data"]
        return rows(data["gained"]), rows(data["lost"])


def rows(groups: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(tuple(g["shape"]), g["dtype"], g["kind"], g["device"], g["count"], g["bytes"]) for g in groups]


@pytest.fixture
def link(monkeypatch: pytest.MonkeyPatch) -> Link:
    """This process watched, as far as marks can tell, and one mark set."""
    monkeypatch.setitem(sys.modules, "_memtop_probe", probe)
    monkeypatch.setitem(sys.modules, "_memtop_probe.runtime", runtime)
    monkeypatch.setitem(sys.modules, "_memtop_probe.tracking", tracking)
    link = Link()
    monkeypatch.setattr(runtime, "_probe", SimpleNamespace(_link=link))
    monkeypatch.setattr(tracking, "_marks", tracking.Marks())
    for _ in range(3):  # What other tests left in circles, finalizers and their circles included.
        gc.collect()
    memtop.track("first")
    return link


def test_unwatched_it_does_nothing() -> None:
    code = "import sys, memtop; memtop.track('x'); memtop.track(); before = set(sys.modules); memtop.track('y')\n"
    code += (
        "assert set(sys.modules) == before and 'torch' not in before\nprint(sorted(m for m in before if 'memtop' in m))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(memtop.__file__).parents[1],
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("['memtop', 'memtop.tracking']\n", "")
    assert "_memtop_probe.runtime" not in sys.modules
    assert memtop.track("here") is None


def test_what_else_is_asked_of_the_package_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'memtop' has no attribute 'stop'"):
        memtop.stop  # noqa: B018


def test_a_probe_that_is_not_there_any_more_hears_nothing(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    link.alive = False
    memtop.track("deaf")
    monkeypatch.setattr(runtime, "_probe", None)
    memtop.track("gone")
    assert len(link.sent) == 1


def test_the_record(link: Link) -> None:
    kept = torch.zeros(7, 3)
    line = sys._getframe().f_lineno + 1
    memtop.track("after\udcff")
    record = link.sent[-1]
    data = record["data"]
    assert (record["kind"], record["name"]) == ("event", "track")
    assert (data["place"], data["label"]) == (f"test_tracking.py:{line}", "after?")
    assert record["message"] == f"{data['place']} after?: 1 tensors gained, 0 lost"
    assert link.last() == ([((7, 3), F32, "Tensor", "cpu", 1, 84)], [])
    assert data["total"] == link.sent[0]["data"]["total"] + kept.untyped_storage().nbytes()
    assert (data["unread"], data["spent_ns"] > 0) == (0, True)
    assert records.decode(json.dumps(record).encode()).name == "track"  # type: ignore[union-attr]


def test_the_first_mark_tells_all_that_lives(link: Link) -> None:
    alive = [one for one in gc.get_objects() if type(one) is torch.Tensor and one.layout is torch.strided]
    assert link.sent[0]["data"]["lost"] == []
    assert sum(group["count"] for group in link.sent[0]["data"]["gained"]) >= len(alive)


def test_groups_are_by_shape_dtype_and_kind(link: Link) -> None:
    layers = torch.nn.Sequential(torch.nn.Linear(37, 37), torch.nn.Linear(37, 37), torch.nn.BatchNorm1d(37))
    memtop.track()
    ours = [((37, 37), F32, "Parameter", "cpu", 2, 10_952), ((37,), F32, "Parameter", "cpu", 4, 592)]
    ours += [((37,), F32, "Tensor", "cpu", 2, 296)]
    assert link.last() == ([*ours, ((), "int64", "Tensor", "cpu", 1, 8)], [])
    del layers
    gc.collect()
    memtop.track()
    gained, lost = link.last()
    # Other tests' tensors may go just then, too.
    assert (gained, [group for group in lost if 37 in group[0]]) == ([], ours)


def test_views_count_as_tensors_and_not_twice_in_the_total(link: Link) -> None:
    base = torch.zeros(10)
    views = [base[:5], base[5:], base.view(2, 5)]
    memtop.track()
    assert sum(group[-1] for group in link.last()[0]) == 40 + 20 + 20 + 40
    assert link.sent[-1]["data"]["total"] == link.sent[0]["data"]["total"] + 40
    del views[1:]
    memtop.track()
    assert link.last() == ([], [((2, 5), F32, "Tensor", "cpu", 1, 40), ((5,), F32, "Tensor", "cpu", 1, 20)])
    assert link.sent[-1]["data"]["total"] == link.sent[0]["data"]["total"] + 40
    kept = base[:1].detach().view_as(base[:1])
    memtop.track()
    del base, views
    memtop.track()
    assert link.sent[-1]["data"]["total"] == link.sent[0]["data"]["total"] + 40, "one view still holds all of it"
    assert kept.shape == (1,)


def test_a_tensor_at_the_address_of_one_that_is_gone_is_another(link: Link) -> None:
    row = ((3,), F32, "Tensor", "cpu", 1, 12)
    tensor: Any = torch.zeros(3)
    memtop.track()
    address = id(tensor)
    del tensor
    made = [torch.zeros(3) for _ in range(10_000)]
    again = [one for one in made if id(one) == address]
    if not again:
        pytest.skip("Python did not give the address out a second time")
    del made
    memtop.track()
    assert link.last() == ([row], [row])


def test_other_memory_or_another_shape_is_one_gone_and_one_come(link: Link) -> None:
    weight, grown = torch.nn.Parameter(torch.zeros(3)), torch.zeros(4)
    memtop.track()
    weight.data = weight.data.double()
    grown.resize_(2)
    memtop.track()
    gained = [((3,), "float64", "Parameter", "cpu", 1, 24), ((2,), F32, "Tensor", "cpu", 1, 8)]
    assert link.last() == (gained, [((4,), F32, "Tensor", "cpu", 1, 16), ((3,), F32, "Parameter", "cpu", 1, 12)])
    weight.data.add_(1)
    memtop.track()
    assert link.last() == ([], [])


def test_gradients_are_found_that_python_has_not_seen(link: Link) -> None:
    layer = torch.nn.Linear(5, 6, bias=False)
    memtop.track()
    layer(torch.ones(1, 5)).sum().backward()
    memtop.track()
    assert link.last() == ([((6, 5), F32, "Tensor", "cpu", 1, 120)], [])
    memtop.track()
    assert link.last() == ([], [])
    layer.zero_grad(set_to_none=True)
    memtop.track()
    assert link.last() == ([], [((6, 5), F32, "Tensor", "cpu", 1, 120)])


def test_nothing_is_kept_alive_and_nothing_is_put_on_a_tensor(link: Link) -> None:
    tensor, other = torch.nn.Parameter(torch.zeros(5)), torch.nn.Parameter(torch.ones(5))
    storage = torch.multiprocessing.reductions.StorageWeakRef(tensor.untyped_storage())
    memtop.track()
    assert weakref.getweakrefcount(tensor) == 0
    torch.utils.swap_tensors(tensor, other)  # refuses tensors that somebody refers to weakly
    gone = weakref.ref(other)
    del other
    assert gone() is None
    assert storage.expired()
    assert tensor.sum() == 5


class _Wrapper(torch.Tensor):  # type: ignore[misc]
    """Holds another tensor, as quantised and distributed ones do; every question about its sizes is noted."""

    asked: ClassVar[list[Any]] = []

    @staticmethod
    def __new__(cls, inner: Any) -> Any:
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dispatch_sizes_strides_policy="sizes")

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        cls.asked.append(func)
        return func(*[one.inner if type(one) is cls else one for one in args], **(kwargs or {}))


class _Named(torch.Tensor):  # type: ignore[misc]
    """A subclass with memory of its own, that notes what reaches `__torch_function__`."""

    asked: ClassVar[list[Any]] = []

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        cls.asked.append(func)
        return super().__torch_function__(func, types, args, kwargs or {})


class _Dispatched(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(func)
        return func(*args, **(kwargs or {}))


class _Called(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(func)
        return func(*args, **(kwargs or {}))


@pytest.mark.filterwarnings("ignore:Sparse CSR:UserWarning", "ignore:.*nested:UserWarning")
def test_no_mode_and_no_subclass_sees_us(link: Link) -> None:
    sparse, csr = torch.eye(4).to_sparse(), torch.eye(4).to_sparse_csr()
    jagged = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)], layout=torch.jagged)
    named, wrapper = torch.ones(2, 2).as_subclass(_Named), _Wrapper(torch.ones(9))
    state = torch.get_rng_state()
    _Named.asked.clear()
    _Wrapper.asked.clear()
    with _Dispatched() as dispatched, _Called() as called:
        memtop.track()
    assert (dispatched.seen, called.seen, _Named.asked, _Wrapper.asked) == ([], [], [], [])
    assert torch.equal(torch.get_rng_state(), state)
    gained = link.last()[0]
    parts = [sparse._indices(), sparse._values(), csr.crow_indices(), csr.col_indices(), csr.values()]
    assert ((4, 4), F32, "Tensor", "cpu", 2, sum(part.untyped_storage().nbytes() for part in parts)) in gained
    assert ((2, 2), F32, "_Named", "cpu", 1, 16) in gained
    assert ((9,), F32, "Tensor", "cpu", 1, 36) in gained, "what the wrapper holds"
    assert ((6, 3), F32, "Tensor", "cpu", 1, 72) in gained, "what the jagged tensor holds"
    assert not {"_Wrapper", "NestedTensor"} & {row[2] for row in gained}
    assert link.sent[-1]["data"]["unread"] == 0
    assert all(one is not None for one in (sparse, csr, jagged, wrapper, named))


@pytest.mark.filterwarnings("ignore")
def test_tensors_of_every_sort_break_nothing(link: Link) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    fake = FakeTensorMode().from_tensor(torch.ones(11))
    sorts = [
        torch.empty(5, device="meta"),
        torch.quantize_per_tensor(torch.ones(6), 0.1, 0, torch.quint8),
        torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        torch.nn.parameter.UninitializedParameter(),
        torch.nn.parameter.UninitializedBuffer(),
        (torch.ones(8, requires_grad=True) * 2),
        torch.ones(3, dtype=torch.complex64).conj(),
        torch.empty(0, 9),
    ]

    def inside(x: Any) -> Any:
        memtop.track("transformed")
        return x.sum()

    torch.vmap(torch.func.grad(inside))(torch.ones(3, 77))
    gained, _ = link.last()
    assert link.sent[-1]["data"]["unread"] == 0
    assert ((5,), F32, "Tensor", "meta", 1, 20) in gained
    assert ((6,), "quint8", "Tensor", "cpu", 1, 6) in gained
    assert ((5,), F32, "Tensor", "cpu", 1, 20) in gained, "a nested tensor as one row of its elements"
    assert ((0,), F32, "UninitializedParameter", "cpu", 1, 0) in gained
    assert ((0,), F32, "UninitializedBuffer", "cpu", 1, 0) in gained
    assert ((3,), "complex64", "Tensor", "cpu", 2, 48) in gained, "a conjugate and what it is a view of"
    assert ((3, 77), F32, "Tensor", "cpu", 1, 924) in gained
    assert not [row for row in gained if row[2] == "FakeTensor"]
    held = link.sent[-1]["data"]["total"]
    del sorts[0]
    memtop.track()
    assert link.sent[-1]["data"]["total"] == held - 924, "meta tensors hold nothing"
    assert fake.shape == (11,)


class _Proxy:
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise AssertionError("a proxy was asked for its class")


def test_a_proxy_is_not_asked_for_its_class(link: Link) -> None:
    proxy = _Proxy()
    memtop.track()
    assert len(link.sent) == 2
    assert link.last() == ([], [])
    del proxy


class _Unspeakable:
    def __str__(self) -> str:
        raise ValueError("no words")


def test_a_failure_is_told_and_reaches_nobody(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    memtop.track(_Unspeakable())  # type: ignore[arg-type]
    assert link.sent[-1]["name"] == "warning"

    def broken() -> Any:
        raise RuntimeError("planted")

    with monkeypatch.context() as patch:
        patch.setattr(tracking, "scan", broken)
        memtop.track("x")
    assert (link.sent[-1]["name"], "test_tracking.py:" in link.sent[-1]["message"]) == ("warning", True)
    monkeypatch.setattr(link, "send", broken)
    memtop.track("not even that")


def test_a_mark_from_another_thread_and_one_inside_a_mark(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []

    def work() -> None:
        kept.append(torch.zeros(13))
        memtop.track("thread")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    marks = [rows(record["data"]["gained"]) for record in link.sent[1:]]
    assert len(marks) == 4
    assert sum(row[4] for mark in marks for row in mark if row[0] == (13,)) == 4

    found = tracking.scan

    def interrupted() -> Any:
        memtop.track("from a signal handler")
        return found()

    monkeypatch.setattr(tracking, "scan", interrupted)
    memtop.track("outer")
    assert [record["data"]["label"] for record in link.sent[5:]] == ["outer"]


def test_many_groups_are_folded_and_the_line_stays_short() -> None:
    plain = [(tracking.Group((n,), F32, "Tensor", "cpu"), n) for n in range(2500)]
    told = tracking.grouped(plain)
    assert len(told) == 2001
    assert told[0] == {"shape": [2499], "dtype": F32, "kind": "Tensor", "device": "cpu", "count": 1, "bytes": 2499}
    assert rows(told)[-1] == ((), "", "", "", 500, sum(range(500)))
    wide = [(tracking.Group((n, *range(60)), F32, "é" * 200, "cpu"), 1) for n in range(2500)]
    both = {"gained": tracking.grouped(wide), "lost": tracking.grouped(wide)}
    assert len(json.dumps(both)) < LIMIT
    assert sum(group["count"] for group in both["lost"]) == 2500


def test_compiled_code_is_compiled_as_if_there_were_no_mark(link: Link) -> None:
    def marked(x: Any) -> Any:
        y = x * 2
        memtop.track("compiled")
        return y.sum()

    compiled = torch.compile(marked, backend="eager", fullgraph=True)  # a graph break would raise
    assert compiled(torch.ones(3)) == 6
    assert len(link.sent) == 1
    marked(torch.ones(3))
    assert len(link.sent) == 2


LENT = """
import os, sys
# This Python as if memtop had never been installed: neither its folder nor the finders of an editable install.
sys.path[:] = [p for p in sys.path if not os.path.exists(os.path.join(p, "memtop"))]
sys.meta_path[:] = [f for f in sys.meta_path if "__editable__" not in getattr(f, "__module__", repr(f))]
import memtop
memtop.track()
print(memtop.__file__, "torch" in sys.modules, type(memtop.__spec__.loader).__name__, sys.meta_path[-1])
"""


@pytest.mark.parametrize("watched", [True, False])
def test_a_program_without_memtop_is_lent_the_one_that_watches(tmp_path: Path, watched: bool) -> None:
    env = {"PYTHONPATH": str(Path(probe.__file__).parent / "bootstrap")}
    if watched:
        env["MEMTOP_SOCKET"] = str(tmp_path / "nobody.sock")
    command = [sys.executable, "-c", LENT]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    if watched:
        assert done.stdout.startswith(f"{memtop.__file__} False SourceFileLoader <_memtop_probe.preload._Lender")
    else:
        assert "No module named 'memtop'" in done.stderr


def test_only_memtop_is_lent() -> None:
    lender = preload._Lender()
    assert [lender.find_spec(name) for name in ("memtop.cli", "torch", "memtop2")] == [None] * 3
