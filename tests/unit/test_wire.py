"""The probe's plain records and the monitor's strict types, held together: a real probe on a real training step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

torch = pytest.importorskip("torch", reason="the probe lives in a process that has torch")

from torch.optim import optimizer as hooks  # noqa: E402
from torch.utils.data import dataloader  # noqa: E402

from memtop.model import categories  # noqa: E402
from memtop.probe import runtime, wire  # noqa: E402
from memtop.protocol import deep, records  # noqa: E402
from memtop.session.state import State  # noqa: E402
from tests.unit import sample_records as sample  # noqa: E402
from tests.unit.deep_driver import Driver, modules_of  # noqa: E402


def told(record: Any) -> dict[str, Any]:
    """A log record's fields but for those that every message has: the facts that a probe hands to `wire`."""
    return {
        name: value for name, value in msgspec.to_builtins(record).items() if name not in ("v", "kind", "t", "rank")
    }


BUILT: dict[str, dict[str, Any]] = {
    "hello": wire.hello(None),
    "event": wire.event("oom", "no memory", bytes=1),
    "ack": wire.ack(1, 2),
    "fault": wire.fault(1, "no", None),
    "bye": wire.bye({"steps": 1, "seconds": 0.5, "spent_ns": 7, "announced_ns": 9, "looks": 1, "dropped": 0}),
    "modules": wire.modules(told(sample.modules())),
    "lines": wire.lines(told(sample.lines())),
    "trace": wire.trace(told(sample.trace())),
    "scaling": wire.scaling(
        {
            "device": "cpu",
            "step": 2,
            "batch_size": 64,
            "batches": 1,
            "peak": 45_234_424,
            "rounding": 0,
            "sample_shape": [3, 32, 32],
            "phases": [{"phase": "backward", "lines": [[1_455_864, 684_040]]}],
            "length": 256,
            "lengths": [{"phase": "backward", "curves": [[-4_096, 684_040, 2_048]]}],
            "length_unknown": None,
            "limits": [{"name": "RLIMIT_AS", "bytes": 1 << 30, "beside": 700 << 20}],
            "blocks": [[8_388_608, 33_554_432]],
            "image": [32, 32],
            "pixels": [{"phase": "backward", "curves": [[1_455_864, 43_778_560, 0]]}],
            "pixels_error": 0.01,
            "pixels_unknown": None,
        }
    ),
    "batch": wire.batch({"step": 2, "tensors": [], "picture": None}),
}


class Link:
    """A transport that keeps what it is given."""

    alive, spent_ns, dropped = True, 0, 0

    def flush(self) -> None: ...

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.commands: list[dict[str, Any]] = []
        self.last_words: Any = None

    def send(self, record: dict[str, Any]) -> None:
        self.sent.append(record)

    def command(self) -> dict[str, Any] | None:
        return self.commands.pop(0) if self.commands else None


@pytest.fixture
def link() -> Iterator[Link]:
    """Three steps of a watched training, one paused after, in this process."""
    tables = (hooks._global_optimizer_pre_hooks, hooks._global_optimizer_post_hooks)
    before = [dict(table) for table in tables]
    following, backward = dataloader._BaseDataLoaderIter.__next__, torch.autograd.backward
    link = Link()
    try:
        runtime.Probe(link, 0.01).begin()  # type: ignore[arg-type]
        link.commands = [{"id": 1, "name": "pause"}, {"id": 2, "name": "resume"}, {"id": 3, "name": "dance"}]
        train()
        link.last_words()
        yield link
    finally:
        dataloader._BaseDataLoaderIter.__next__ = following
        torch.autograd.backward = backward
        for table, old in zip(tables, before, strict=True):
            table.clear()
            table.update(old)


def train() -> None:
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    data = torch.utils.data.TensorDataset(torch.ones(12, 4), torch.zeros(12, dtype=torch.long))
    for x, y in torch.utils.data.DataLoader(data, batch_size=4):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


def fields(kind: str) -> set[str]:
    (struct,) = [one for one in records.Message.__args__ if one.__struct_config__.tag == kind]  # type: ignore[attr-defined]
    return {field.encode_name for field in msgspec.structs.fields(struct)} | {"kind"}


def test_every_record_decodes_and_has_exactly_the_fields(link: Link) -> None:
    told = {"hello", "model", "memory", "step", "ack", "fault", "bye"}
    looked = {"modules", "lines", "trace", "scaling", "batch"}
    assert {record["kind"] for record in link.sent} - looked == told, "no event: nothing failed"
    assert [one["step"] for one in link.sent if one["kind"] == "batch"] == [2], "of the announced look alone"
    for record in [*link.sent, *BUILT.values()]:
        decoded = records.decode(json.dumps(record, allow_nan=False).encode())
        assert set(record) == fields(record["kind"])
        assert msgspec.to_builtins(decoded) == record


def test_every_record_of_a_real_deep_look_decodes_and_has_exactly_the_fields() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        model(torch.ones(3, 4)).sum().backward()
        optimizer.step()

    step()
    found = Driver(optimizer, modules=modules_of(model)).look(step).records
    assert {record["kind"] for record in found} == {"memory", "modules", "lines", "trace", "scaling"}
    state = State(found[0]["t_ns"])
    for record in found:
        line = json.dumps(record, allow_nan=False).encode()
        decoded = records.decode(line)
        assert set(record) == fields(record["kind"])
        assert msgspec.to_builtins(decoded) == json.loads(line), "no row has a key more, or less"
        assert state.heard(decoded), "each makes a record of the log"
    look = state.looks.newest("cpu")
    assert look is not None
    assert None not in (look.modules, look.lines, look.trace)
    assert look.peak.allocated == sum(look.peak.bytes[name] or 0 for name in categories.TENSORS)


def test_the_same_keys_inside(link: Link) -> None:
    (model,) = [record for record in link.sent if record["kind"] == "model"]
    assert set(model["inputs"][0]) == {field.encode_name for field in msgspec.structs.fields(records.Input)}
    assert (model["parameters"], model["trainable_parameters"], model["modules"]) == (10, 10, 1)
    moments = [record["moment"] for record in link.sent if record["kind"] == "memory" and record["moment"] != "peak"]
    assert moments == ["forward_end", "backward_end", "step_end"] * 2


def test_commands_are_answered_between_two_steps(link: Link) -> None:
    answers = [(r["kind"], r["id"]) for r in link.sent if r["kind"] in ("ack", "fault")]
    assert answers == [("ack", 1), ("ack", 2), ("fault", 3)]
    assert link.sent[-1]["kind"] == "bye"
    assert link.sent[-1]["steps"] == 3


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), None])
def test_a_loss_that_is_no_number_is_null(loss: float | None) -> None:
    assert wire.step({"loss": loss})["loss"] is None


@pytest.mark.parametrize(
    "line",
    [b"", b"[]", b"{}", b'{"kind":"ack"}', b'{"kind":"ack","t_ns":"1","pid":1,"id":1,"step":1}', b'{"kind":"no"}'],
)
def test_what_is_not_exactly_one_is_refused(line: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        records.decode(line)


def test_facts_may_say_when_it_was() -> None:
    assert wire.memory({"device": "cpu", "t_ns": 7})["t_ns"] == 7
    assert wire.memory({"device": "cpu"})["t_ns"] > 7


def test_what_is_rare_is_never_dropped() -> None:
    assert {"modules", "lines", "trace"} < wire.VITAL
    assert "memory" not in wire.VITAL


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("modules", "rows", [{"path": "a"}]),
        ("modules", "folded", None),
        ("lines", "rows", [1]),
        ("trace", "points", [[1.5]]),
        ("trace", "times", ["1"]),
        ("trace", "marks", [{"at": 0.0, "name": None}]),
    ],
)
def test_a_deep_look_of_another_shape_is_refused(kind: str, name: str, value: Any) -> None:
    with pytest.raises(msgspec.MsgspecError):
        records.decode(json.dumps(BUILT[kind] | {name: value}).encode())


@pytest.mark.parametrize("change", [{"total": -1}, {"total": 1 << 63}, {"gained": [{}]}, {"label": None}])
def test_a_mark_of_another_shape_is_refused(change: dict[str, Any]) -> None:
    mark = {"place": "a.py:1", "label": "", "gained": [], "lost": [], "total": 0}
    assert deep.track(mark).total == 0
    with pytest.raises(msgspec.ValidationError):
        deep.track(mark | change)


def test_a_deep_look_that_lasts_too_long_is_given_up_at_the_next_batch(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """An evaluation between two steps must not be followed to its end."""
    from memtop.probe import deep

    monkeypatch.setattr(deep, "_LONGEST_NS", 0)
    link: Link = request.getfixturevalue("link")
    said = [record["message"] for record in link.sent if record["kind"] == "event"]
    assert [one for one in said if "the deep look at step 2 was given up: the step took more than" in one] == said
    assert len(said) == 1
    tiers = {record["step"]: record["tier"] for record in link.sent if record["kind"] == "memory"}
    assert tiers[2] == "graph"
