"""What a session makes of growth: limits, restarts with another batch, points, errors."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from memtop.model.categories import CPU
from memtop.model.forecast import UNTAUGHT, error_bytes, peak_at, peak_of_length
from memtop.model.forecast_record import ForecastRecord
from memtop.model.records import DeviceRecord, InputTensor, MemoryRecord
from memtop.protocol import records as wire
from memtop.session.forecasts import Forecasts
from memtop.session.state import State
from tests.unit import sample_records as sample

GIB = 1 << 30
SETTINGS: dict[str, Any] = {"batch_size": 64, "optimizer": "adam", "steps": 10}


def scaling(
    batch: int = 64, peak: int | None = None, fixed: int = 1_000_000, grows: int = 10_000, **changes: Any
) -> Any:
    fields: dict[str, Any] = {
        "device": "cpu",
        "step": 2,
        "batch_size": batch,
        "batches": 1,
        "peak": fixed + grows * batch if peak is None else peak,
        "rounding": 0,
        "sample_shape": [3, 32, 32],
        "phases": [wire_phase("backward", [fixed, grows]), wire_phase("optimizer", [fixed * 2, 10])],
    }
    return wire.Scaling(**({"t_ns": 1, "pid": 1} | fields | changes))


def wire_phase(name: str, *lines: list[int]) -> Any:
    from memtop.protocol.deep import Envelope

    return Envelope(phase=name, lines=list(lines))


def device(total: int = GIB, **taken: int | None) -> MemoryRecord:
    sizes: dict[str, int | None] = dict.fromkeys(CPU, 0) | {"other_processes": 0, "runtime": 0} | taken
    sizes["free"] = total - sum(size or 0 for size in sizes.values())
    return sample.memory(bytes=sizes, device_total=total)


def heard(known: Forecasts, message: Any, now: MemoryRecord | None) -> ForecastRecord:
    (made,) = known.heard(2.5, message, lambda _: now)
    return made


def started(**changes: Any) -> Forecasts:
    known = Forecasts()
    known.begin("cnn", SETTINGS | changes)
    return known


def test_the_largest_batch_leaves_room_for_others_the_runtime_and_the_error() -> None:
    now = device(other_processes=300_000_000, runtime=100_000_000, parameters=50_000_000, unbacked=-7)
    made = heard(started(), scaling(), now)
    assert made.limit_bytes == GIB - 400_000_000, "what tensors have now they may go on having"
    most, error = made.max_batch_size, made.error_bytes
    assert most is not None
    assert error is not None
    assert peak_at(made.phases, most) + error <= made.limit_bytes < peak_at(made.phases, most + 2) * (1 + UNTAUGHT)
    assert (made.fixed_bytes, made.bytes_per_sample) == (1_000_000, 10_000)
    assert "batch 64" in made.basis
    assert "not measured yet" in made.basis


def test_without_a_reading_of_the_device_there_is_no_limit_and_no_answer() -> None:
    made = heard(started(), scaling(), None)
    assert (made.limit_bytes, made.max_batch_size, made.error_bytes) == (None, None, None)
    assert peak_at(made.phases, 128) == 2_280_000


def test_rounding_of_the_allocator_is_no_room() -> None:
    assert heard(started(), scaling(rounding=1_000_000), device()).limit_bytes == GIB - 1_000_000


def test_another_batch_size_is_forecast_first_and_then_measured_beside() -> None:
    known = started()
    heard(known, scaling(64), device())
    known.begin("cnn", SETTINGS | {"batch_size": 128, "steps": 20})
    before = known.newest("cpu")
    assert before is not None, "what is known of one batch forecasts the next"
    made = heard(known, scaling(128, peak=2_400_000), device())
    assert [(one.batch_size, one.measured_bytes, one.predicted_bytes) for one in made.points] == [
        (64, 1_640_000, None),
        (128, 2_400_000, peak_at(before.phases, 128)),
    ]
    assert made.batch_size == 128, "the larger batch is nearer to the limit"
    assert "as measured" in made.basis
    assert made.max_batch_size is not None
    assert made.error_bytes == error_bytes(made.phases, made.max_batch_size, 120_000 / 2_280_000)
    assert "± 5.3 %" in made.basis


def test_another_setting_is_another_training_and_coming_back_is_not() -> None:
    known = started()
    first = heard(known, scaling(), device())
    known.begin("cnn", SETTINGS | {"optimizer": "sgd"})
    assert known.newest("cpu") is None
    assert known.records() == []
    known.begin("cnn", SETTINGS | {"batch_size": 32})
    assert known.newest("cpu") == first
    known.begin("mlp-mnist", SETTINGS)
    assert known.newest("cpu") is None


def test_a_record_comes_when_the_limit_moves_and_when_a_run_begins() -> None:
    known = started()
    heard(known, scaling(), device())
    assert known.sampled(3.0, lambda _: device(other_processes=GIB // 100)) == [], "one hundredth is no news"
    (moved,) = known.sampled(4.0, lambda _: device(other_processes=GIB // 2))
    assert moved.limit_bytes == GIB // 2
    assert known.newest("cpu") == moved
    known.begin("cnn", SETTINGS | {"batch_size": 128})
    assert known.sampled(0.1, lambda _: None) == [], "nothing is known of the device yet"
    assert len(known.sampled(0.2, lambda _: device(other_processes=GIB // 2))) == 1, "the new run's log is told"
    assert known.sampled(0.3, lambda _: device(other_processes=GIB // 2)) == []


def test_the_largest_samples_seen_are_forecast() -> None:
    known = started()
    heard(known, scaling(sample_shape=[128]), device())
    made = heard(known, scaling(sample_shape=[64], grows=5_000), device())
    assert made.sample_shape == [128]
    assert made.bytes_per_sample == 10_000
    assert "largest of 2 shapes" in made.basis


def test_larger_samples_than_those_looked_at_are_told() -> None:
    known = started()
    heard(known, scaling(), device())
    known.saw([InputTensor(shape=[64, 3, 32, 32], dtype="float32", bytes=786_432)])
    assert known.sampled(3.0, lambda _: device()) == []
    known.saw([InputTensor(shape=[64, 3, 48, 48], dtype="float32", bytes=1_769_472)])
    (told,) = known.sampled(4.0, lambda _: device())
    assert "samples of 3×48×48 were seen, too" in told.basis


def test_what_does_not_grow_has_no_answer_and_hostile_words_are_made_harmless() -> None:
    phases = [wire_phase("back\x1b[2Jward", [1000, 0])]
    made = heard(started(), scaling(peak=1000, phases=phases), device())
    assert made.max_batch_size is None
    assert made.limit_bytes == GIB
    assert "\x1b" not in made.phases[0].phase
    assert started().heard(2.5, scaling(phases=[]), lambda _: device()) == []


def test_a_state_passes_growth_on_and_refreshes_it_with_the_device() -> None:
    state = State(0)
    told = state.heard(replace_time(scaling(), 2))
    assert [one.kind for one in told] == ["forecast"]
    reading = DeviceRecord(t=2.5, device="cpu", memory_total=GIB, memory_free=GIB // 2, tree_pss=1000, tree_pss_t=2.5)
    state.heard(wire_memory())
    records = state.sampled([reading])
    assert [one.kind for one in records] == ["device", "forecast"]
    forecast = state.forecasts.newest("cpu")
    assert forecast is not None
    assert forecast.limit_bytes == GIB // 2 + 600, "what is free and what the tensors have"


def sequences(length: int, peak: int, pair: int = 10, **changes: Any) -> Any:
    """A look at sequences: 1,000,000 bytes, 5,000 more a position and some a pair of positions."""
    from memtop.protocol.deep import Curves

    curves = [Curves(phase="backward", curves=[[1_000_000, 5_000, pair]])]
    return scaling(peak=peak, sample_shape=[length], length=length, lengths=curves, **changes)


def test_the_longest_sequence_is_within_the_limit_and_the_error() -> None:
    made = heard(started(), sequences(100, 1_600_000), device())
    most = made.max_length
    assert most is not None
    assert peak_of_length(made.lengths, most) * (1 + UNTAUGHT) <= GIB
    assert peak_of_length(made.lengths, most + 1) * (1 + UNTAUGHT) > GIB
    assert "other lengths from that at 100, error ± 2.0 %" in made.basis


def test_a_second_length_teaches_the_error() -> None:
    known = started()
    first = heard(known, sequences(100, 1_600_000), device())
    foretold = peak_of_length(first.lengths, 200)
    made = heard(known, sequences(200, round(foretold * 1.1)), device())
    assert made.length == 200
    assert "error ± 10.0 %" in made.basis
    assert made.max_length is not None
    assert first.max_length is not None
    assert made.max_length < first.max_length
    assert peak_of_length(made.lengths, made.max_length) * 1.1 <= GIB


def test_where_lengths_are_not_known_the_record_says_why_and_has_no_answer() -> None:
    told = scaling(sample_shape=[100], length=100, length_unknown="convolutions\x1b take positions away")
    made = heard(started(), told, device())
    assert (made.length, made.max_length, made.lengths) == (100, None, [])
    assert "other lengths than 100: not known, convolutions" in made.basis
    assert "\x1b" not in made.basis
    assert made.max_batch_size is not None
    assert heard(started(), scaling(), device()).length is None


def test_what_is_missing_for_a_length_is_known_for_the_batch_that_was_looked_at() -> None:
    known = started()
    heard(known, sequences(100, 1_600_000), device(total=10_000_000))
    assert known.missing("cpu", 64, 100) == 1_600_000 - 10_000_000
    assert known.missing("cpu", 64, 1_000) == 16_000_000 - 10_000_000
    assert known.missing("cpu", 32, 1_000) is None
    assert known.missing("cuda:0", 64, 1_000) is None


def replace_time(message: Any, seconds: int) -> Any:
    import msgspec

    return msgspec.structs.replace(message, t_ns=seconds * 10**9)


def wire_memory() -> Any:
    fields = {"device": "cpu", "step": 2, "moment": "step_end", "tier": "graph", "bytes": {"parameters": 600}}
    return wire.Memory(t_ns=2 * 10**9, pid=1, allocator=None, where=None, notes=[], **fields)  # type: ignore[arg-type]


def test_points_survive_a_log() -> None:
    from memtop.sinks.jsonl import line
    from memtop.sinks.replay import LogReader

    made = replace(sample.forecast(), max_batch_size=None)
    import io

    assert list(LogReader(io.BytesIO(line(made)))) == [made]
