"""A deep look at a GPU, held against the allocator's own peak. The device is a stand-in (see `cuda_allocator.py`); the
operators, autograd and the optimizers are torch's, and the scratch that operators take is known to the test alone."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the probe lives in a process that has torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from memtop.model.ledger import known  # noqa: E402
from memtop.model.records import DeviceProcess, DeviceRecord, MemoryRecord  # noqa: E402
from memtop.probe import cuda_history  # noqa: E402
from memtop.probe.attribution import Attribution  # noqa: E402
from memtop.probe.cuda_history import UNSEEN  # noqa: E402
from memtop.probe.deep import DeepStep  # noqa: E402
from memtop.probe.leaks import Leaks  # noqa: E402
from memtop.protocol import records as wire  # noqa: E402
from memtop.session.state import State  # noqa: E402
from tests.unit import cuda_allocator  # noqa: E402
from tests.unit.cuda_allocator import MIB, Card  # noqa: E402
from tests.unit.deep_driver import Driver, Record, Seen, modules_of  # noqa: E402
from tests.unit.recorded_trace import captured, play, save  # noqa: E402

PARAMETERS, BUFFERS = 456_744, 1_816
FORWARD_END = 40_374_536
"""Activations of the CNN below at batch 64: closed form, and what the same step keeps on the CPU."""
MOMENTS = ("forward_end", "backward_end", "step_end", "peak")


def nothing(operator: Any) -> int:
    return 0


@pytest.fixture
def insert(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Card]]:
    """Puts a device in, on which every tensor is from then on."""
    entered: list[Card] = []

    def insert(scratch: Callable[[Any], int] = nothing) -> Card:
        card = Card(scratch)
        card.patch(monkeypatch)
        card.__enter__()
        entered.append(card)
        torch.set_default_device("meta")
        return card

    yield insert
    torch.set_default_device(None)
    for card in entered:
        card.__exit__(None, None, None)


class Training:
    """A model, Adam, and its steps on the device."""

    def __init__(self, model: Any, x: Any, rows: int = 64) -> None:
        self.model, self.x = model, x
        self.y = torch.zeros(rows, dtype=torch.int64)
        self.optimizer = torch.optim.Adam(model.parameters())
        self.around: Callable[[], None] = lambda: None
        """What the program does between forward and backward."""
        self.step()

    def step(self) -> None:
        self.optimizer.zero_grad()
        loss = functional.cross_entropy(self.model(self.x), self.y)
        self.around()
        loss.backward()
        self.optimizer.step()

    def seen(self, card: Card) -> Seen:
        card.allocator.reset_peak()
        return Driver(self.optimizer, modules=modules_of(self.model)).look(self.step)


def cnn() -> Training:
    layers: list[Any] = []
    width = 3
    for out in (32, 64, 128):
        layers += [nn.Conv2d(width, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(), nn.MaxPool2d(2)]
        width = out
    return Training(nn.Sequential(*layers, nn.Flatten(), nn.Linear(2048, 10)), torch.empty(64, 3, 32, 32))


def mlp() -> Training:
    return Training(nn.Sequential(nn.Linear(300, 200), nn.ReLU(), nn.Linear(200, 10)), torch.empty(64, 300))


def check(seen: Seen, card: Card) -> Record:
    """The peak is the allocator's, and the parts are the whole. Returns its record."""
    peak = seen.memory("peak")
    allocator = card.allocator
    assert seen.peak == peak["allocator"]["requested"] == allocator.highest_live
    assert peak["allocator"]["allocated"] == allocator.peak["allocated"]
    assert sum(row["at_peak"] for row in seen.one("modules")["rows"]) == seen.peak
    assert sum(row["at_peak"] for row in seen.one("lines")["rows"]) == seen.peak
    for row in seen.one("lines")["rows"]:
        assert sum(one["bytes"] for one in row["tensors"]) == row["at_peak"]
    trace = seen.one("trace")
    assert max(sum(point) for point in trace["points"]) == sum(trace["points"][trace["peak"]]) == seen.peak
    assert trace["times"] == sorted(trace["times"])
    for moment in MOMENTS:
        record = seen.memory(moment)
        assert sum(record["bytes"].values()) == record["allocator"]["requested"]
    return peak


def test_without_scratch_the_peak_is_that_of_the_tensors(insert: Any) -> None:
    card = insert()
    training = cnn()
    seen = training.seen(card)
    peak = check(seen, card)
    assert UNSEEN not in peak["notes"]
    ended = seen.at("forward_end")
    assert (ended["parameters"], ended["buffers"]) == (PARAMETERS, BUFFERS)
    assert ended["activations"] == FORWARD_END
    assert ended["temporaries"] == ended["other_tensors"] == 0
    assert seen.at("backward_end")["gradients"] == PARAMETERS
    assert seen.at("step_end")["optimizer_state"] == 2 * PARAMETERS


@pytest.mark.parametrize("before", [1, -1])
def test_scratch_at_the_peak_is_the_operators(insert: Any, before: int) -> None:
    """50 MiB that a convolution of backward takes for itself, before its results or after them, are the peak."""
    scratch = 50 * MIB + 8

    def of(operator: Any) -> int:
        return before * scratch if operator is torch.ops.aten.convolution_backward.default else 0

    card = insert(of)
    seen = cnn().seen(card)
    peak = check(seen, card)
    assert peak["bytes"]["temporaries"] >= scratch
    assert peak["bytes"]["other_tensors"] == 0
    where = peak["where"]
    assert (where["phase"], where["operator"]) == ("backward", "aten.convolution_backward")
    assert where["module"] == seen.row(where["module"])["path"] != ""
    assert "loss.backward()" in where["text"]
    shapes = [(one["shape"], one["category"]) for row in seen.one("lines")["rows"] for one in row["tensors"]]
    assert ([scratch], "temporaries") in shapes
    assert seen.row(where["module"])["at_peak"] >= scratch


@pytest.mark.parametrize("seed", range(4))
def test_scratch_of_any_operator_at_any_time(insert: Any, seed: int) -> None:
    """Blocks go from scratch to tensors and back again: addresses are used over and over."""
    chance = random.Random(seed)
    sizes = (0, 0, 4, 1000, -1000, 51_200, 240_000, -240_000, 3 * MIB)
    card = insert(lambda operator: chance.choice(sizes))
    training = mlp()
    seen = training.seen(card)
    check(seen, card)
    for moment in ("backward_end", "step_end"):
        found = seen.at(moment)
        assert (found["parameters"], found["gradients"]) == (4 * 62_210, 4 * 62_210)
        assert found["other_tensors"] == found["temporaries"] == 0
    assert seen.at("forward_end")["activations"] == 4 * (64 * 200 + 64 * 10 + 1 + 1)


def test_blocks_that_no_storage_was_seen_for_are_no_leak(insert: Any) -> None:
    """They stand behind the storages among the births, and nothing refers to them: a look at leaks passes them by."""
    card = insert(lambda operator: 3 * MIB)
    training = mlp()
    card.allocator.malloc(8_519_680)
    driver = Driver(training.optimizer, modules=modules_of(training.model))
    driver.look(training.step)
    look = driver.found.look
    assert len(look.births) > len(look.refs)
    leaks = Leaks(asks=False)
    leaks.looked(driver.found)
    assert leaks.news(10_000) == []


def test_a_block_of_before_that_nobody_claims_is_other_until_it_is_freed(insert: Any) -> None:
    card = insert()
    training = mlp()
    kept, gone = card.allocator.malloc(8_519_680), card.allocator.malloc(70_000)
    training.around = lambda: card.allocator.free(gone)
    seen = training.seen(card)
    check(seen, card)
    assert seen.at("forward_end")["other_tensors"] == 8_519_680
    assert seen.one("trace")["points"][0][-1] == 8_519_680 + 70_000
    assert seen.at("peak")["other_tensors"] == 8_519_680
    card.allocator.free(kept)


def test_a_block_of_the_step_that_stays_is_other(insert: Any) -> None:
    card = insert()
    training = mlp()
    training.around = lambda: card.allocator.malloc(70_000)
    seen = training.seen(card)
    check(seen, card)
    assert seen.at("step_end")["other_tensors"] == 70_000


def test_what_another_stream_waits_for_is_no_tensor(insert: Any) -> None:
    """The allocator still counts it as requested; the record tells it apart."""
    card = insert()
    training = mlp()
    card.allocator.free(card.allocator.malloc(9_000_000), waits=True)
    training.around = lambda: card.allocator.free(card.allocator.malloc(7_000_000), waits=True)
    seen = training.seen(card)
    check(seen, card)
    ended = seen.memory("backward_end")["allocator"]
    rounded = [-(-size // (512)) * 512 for size in (9_000_000, 7_000_000)]
    assert ended["active"] - ended["allocated"] >= sum(rounded)
    assert seen.at("backward_end")["other_tensors"] == 0


def test_a_storage_that_is_resized_has_other_memory(insert: Any) -> None:
    card = insert()
    training = mlp()
    held = torch.empty(1000)

    def grow() -> None:
        held.add_(1)
        card.move(held.untyped_storage(), 4 * 30_000)
        made.append(torch.zeros(500))
        card.move(made[0].untyped_storage(), 4 * 7_000)

    made: list[Any] = []
    training.around = grow
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.UntypedStorage, "data_ptr", lambda storage: card._known.get(storage._cdata, 0))
        seen = training.seen(card)
    check(seen, card)
    ended = seen.at("forward_end")
    assert ended["activations"] == 4 * (64 * 200 + 64 * 10 + 1 + 1) + 4 * 7_000
    assert ended["other_tensors"] == seen.at("step_end")["other_tensors"] == 120_000
    assert [one["dtype"] for row in seen.one("lines")["rows"] for one in row["tensors"] if one["bytes"] == 28_000] == [
        "float32"
    ]


def test_tensors_in_memory_of_others_are_not_the_allocators(insert: Any) -> None:
    card = insert()
    training = mlp()
    key = training.x.untyped_storage()._cdata
    card.allocator.free(card._known[key])
    card._known[key] = 4096
    seen = training.seen(card)
    peak = check(seen, card)
    assert f"tensors of {4 * 64 * 300:,} bytes" in "".join(peak["notes"])
    card._known[key] = card.allocator.malloc(512)


class TwoUsers(nn.Module):
    """Two users of one tensor, each with a gradient as large as all of it: autograd adds them up, out of place under a
    dispatch mode, and three of them are the peak."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(32, 32), nn.Linear(32, 10)

    def forward(self, x: Any) -> Any:
        hidden = self.inner(x)
        return self.outer(hidden[:3] + hidden[-3:])


def two_users() -> Training:
    return Training(TwoUsers(), torch.empty(5000, 32), rows=3)


def test_what_only_the_look_brought_about_does_not_count(insert: Any) -> None:
    card = insert()
    training = two_users()
    seen = training.seen(card)
    assert seen.peak < card.allocator.highest_live
    assert seen.memory("peak")["allocator"]["allocated"] < card.allocator.peak["allocated"]
    card.allocator.reset_peak()
    training.step()
    assert card.allocator.highest_live > seen.peak, "any mode has that effect, the device's own too"
    torch.set_default_device("cpu")
    alone = two_users()
    wanted = Driver(alone.optimizer, modules=modules_of(alone.model)).look(alone.step)
    torch.set_default_device("meta")
    assert {**seen.at("peak"), "optimizer_state": 0} == {**wanted.at("peak"), "optimizer_state": 0}
    assert seen.memory("peak")["where"]["operator"] == wanted.memory("peak")["where"]["operator"]


def test_a_record_that_can_not_be_used_leaves_the_look_as_it_was(insert: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    card = insert(lambda operator: 3 * MIB)
    training = mlp()
    stats = card.allocator.stats

    def wrong(device: int) -> dict[str, Any]:
        told = stats(device)
        told["allocation"]["all"]["allocated"] //= 2  # The program has reset the accumulated counters, say.
        return told

    monkeypatch.setattr(torch._C, "_cuda_memoryStats", wrong)
    seen = training.seen(card)
    notes = seen.memory("peak")["notes"]
    assert UNSEEN in notes
    assert any("the allocator's record can't be used" in note for note in notes)
    assert seen.peak < card.allocator.highest_live
    assert sum(row["at_peak"] for row in seen.one("modules")["rows"]) == seen.peak


@pytest.mark.parametrize("raised", [True, False])
def test_without_a_record_the_running_maxima_tell_what_a_look_misses(
    insert: Any, monkeypatch: pytest.MonkeyPatch, raised: bool
) -> None:
    card = insert(lambda operator: 3 * MIB)
    training = mlp()
    monkeypatch.setattr(cuda_history, "ENTRIES", 10)
    if not raised:
        card.allocator.free(card.allocator.malloc(400 * MIB))
        card.allocator.reset_peak = lambda: None  # type: ignore[method-assign]
    training.around = lambda: card.allocator.free(card.allocator.malloc(MIB), waits=True)
    seen = training.seen(card)
    counted = seen.memory("peak")["allocator"]
    if not raised:
        assert counted is None
        return
    assert counted["allocated"] == counted["active"] == card.allocator.peak["allocated"] < card.allocator.peak["active"]
    assert counted["requested"] == card.allocator.peak["requested"] > seen.peak
    assert counted["reserved"] == card.allocator.current["reserved"]


def test_the_programs_own_history_wins(insert: Any) -> None:
    card = insert()
    training = mlp()
    torch.cuda.memory._record_memory_history()
    switched = len(card.allocator.switched)
    seen = training.seen(card)
    assert len(card.allocator.switched) == switched
    assert card.allocator.enabled
    assert f"{UNSEEN}: the program's own memory history is on" in seen.memory("peak")["notes"]


def test_a_look_that_is_given_up_ends_the_record(insert: Any) -> None:
    card = insert()
    training = mlp()
    training.around = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        training.seen(card)
    assert not card.allocator.enabled


def test_what_breaks_in_the_look_ends_the_record_too(insert: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    card = insert()
    training = mlp()
    monkeypatch.setattr(Attribution, "step_ended", lambda self: 1 / 0)
    look = Driver(training.optimizer, modules=modules_of(training.model)).look
    monkeypatch.setattr(DeepStep, "leave", lambda self: None)  # As in the runtime, which has let go of it by then.
    with pytest.raises(ZeroDivisionError):
        look(training.step)
    assert not card.allocator.enabled


def test_the_parts_are_the_whole_device_in_the_log(insert: Any) -> None:
    """Through the wire and the monitor: allocated is the tensors and their rounding, everything is the device."""
    card = insert(lambda operator: 5 * MIB + 4)
    training = cnn()
    card.allocator.malloc(8_519_680)
    card.allocator.free(card.allocator.malloc(123_456_789), waits=True)
    seen = training.seen(card)
    state = State(0)
    ours = [DeviceProcess(pid=1, name=None, bytes=900 * MIB, ours=True)]
    lines = [json.dumps(record).encode() for record in seen.records if record["kind"] == "memory"]
    state.heard(wire.decode(lines[0]))
    gpu = DeviceRecord(t=1e9, device="cuda:0", memory_total=4000 * MIB, memory_free=2500 * MIB, processes=ours)
    state.sampled([gpu])
    log = {record.moment: record for line in lines for record in state.heard(wire.decode(line))}
    assert set(log) == set(MOMENTS)
    for moment, record in log.items():
        assert isinstance(record, MemoryRecord)
        assert record.device_total == 4000 * MIB == sum(size for size in record.bytes.values() if size is not None)
        assert None not in record.bytes.values()
        assert record.allocated == known(record.bytes) + (record.bytes["rounding"] or 0)
        assert 0 <= (record.bytes["rounding"] or 0) < 512 * 200 + 2 * 20 * MIB
        assert record.bytes["other_tensors"] == 8_519_680, moment
        assert record.bytes["pending_free"] >= 123_456_789  # type: ignore[operator]
    peak = log["peak"]
    assert peak.allocated == card.allocator.peak["allocated"]
    assert known(peak.bytes) == card.allocator.highest_live
    assert peak.bytes["temporaries"] >= 5 * MIB + 4  # type: ignore[operator]


@pytest.mark.parametrize("rounds", [True, False])
def test_blocks_of_unknown_sizes_leave_the_bytes_that_were_asked_for(
    insert: Any, monkeypatch: pytest.MonkeyPatch, rounds: bool
) -> None:
    """As where `roundup_power2_divisions` is set, or a pool never splits: what was given comes of the running maxima
    then."""
    card = insert(lambda operator: 3 * MIB)
    if rounds:
        monkeypatch.setattr(cuda_allocator, "UNIT", 4096)
    else:
        card.allocator.splits = False
    seen = mlp().seen(card)
    peak = seen.memory("peak")
    assert UNSEEN not in peak["notes"]
    assert seen.peak == peak["allocator"]["requested"] == card.allocator.highest_live
    assert peak["allocator"]["allocated"] == card.allocator.peak["allocated"]


def test_a_record_can_be_kept_in_a_file(insert: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    card = insert(lambda operator: 5 * MIB)
    training = mlp()
    played = captured(monkeypatch)
    peak = training.seen(card).memory("peak")
    counters = {name: count for name, count in peak["allocator"].items() if name != "retries"}
    save(tmp_path / "trace.json", played[0], {"peak": list(peak["bytes"].values()), "counters": counters})
    play(tmp_path / "trace.json")
