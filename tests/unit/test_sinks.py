"""JSONL and CSV sinks, and a log back into records."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from memtop.model import categories
from memtop.sinks import Sink, SinkError, check_path, open_sink
from memtop.sinks.replay import LogReader, read
from tests.unit import sample_records as sample


def written(sink: Sink, *records: object) -> None:
    for record in records:
        sink.write(record)  # type: ignore[arg-type]
    sink.close()


def test_every_kind_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    sink = open_sink(str(path))
    written(sink, *sample.all_kinds())
    assert list(read(path)) == sample.all_kinds()
    state = sink.state()
    assert (state.ok, state.records, state.error, state.note) == (True, len(sample.all_kinds()), None, None)
    assert state.path == str(path)


def test_a_line_holds_every_key_and_null_for_unknown(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    written(open_sink(str(path)), sample.memory(), sample.end(exit_code=None, signal=9))
    memory, end = (json.loads(line) for line in path.read_text().splitlines())
    assert {"v", "kind", "t", "rank", "device", "step", "moment", "tier", "sources", "bytes", "where"} <= set(memory)
    assert memory["bytes"]["other_tensors"] is None
    assert memory["allocated"] is None
    assert (end["exit_code"], end["signal"], end["kind"], end["v"]) == (None, 9, "end", 1)


def test_what_json_cannot_say_is_null_or_replaced(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    name = os.fsdecode(b"train\xff.py")
    written(open_sink(str(path)), sample.run(command=[name]), sample.step(loss=math.nan))
    run, step = (json.loads(line) for line in path.read_text().splitlines())
    assert run["command"] == ["train?.py"]
    assert step["loss"] is None


def test_a_second_run_keeps_the_first_log_beside(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    for number in range(3):
        sink = open_sink(str(path))
        written(sink, sample.run(memtop=f"run {number}"))
    assert [json.loads(p.read_text())["memtop"] for p in sorted(tmp_path.iterdir())] == ["run 0", "run 1", "run 2"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.1.jsonl", "run.2.jsonl", "run.jsonl"]
    assert sink.state().note == "the run.jsonl that was there is now run.2.jsonl"


def test_a_link_keeps_pointing_where_it_did(tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.mkdir()
    (big / "log.jsonl").write_text("old\n")
    (tmp_path / "run.jsonl").symlink_to(big / "log.jsonl")
    written(open_sink(str(tmp_path / "run.jsonl")), sample.run())
    assert (big / "log.1.jsonl").read_text() == "old\n"
    assert next(read(big / "log.jsonl")) == sample.run()


def test_append_goes_on_after_the_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    written(open_sink(str(path)), sample.run())
    with path.open("ab") as file:
        file.write(b'{"kind":"mem')
    written(open_sink(str(path), append=True), sample.end())
    assert list(read(path)) == [sample.run(), sample.end()]
    assert list(tmp_path.iterdir()) == [path]


def test_csv_has_one_row_a_memory_record(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    second = sample.memory(t=5.0, step=2, rank=1)
    written(open_sink(str(path)), sample.run(), sample.memory(), sample.step(loss=0.5), sample.memory(), second)
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert list(rows[0]) == [
        *("t", "rank", "device", "step", "moment", "tier"),
        *categories.ALL,
        *("allocated", "reserved", "device_total", "batch_size", "samples_per_second", "loss"),
    ]
    assert [row["loss"] for row in rows] == ["", "0.5", ""], "loss is the rank's newest, unknown is empty"
    assert rows[1]["batch_size"] == "64"
    assert rows[0]["parameters"] == str(sample.MLP_PARAMETERS)
    assert (rows[0]["other_tensors"], rows[0]["context"], rows[0]["gradients"]) == ("", "", "0")
    total = sum(int(rows[0][name]) for name in categories.ALL if rows[0][name])
    assert total == int(rows[0]["device_total"])


def test_csv_has_peaks_and_nothing_else_of_a_deep_look(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    peak = sample.memory(moment="peak", tier="deep", where=sample.WHERE, allocated=100)
    written(open_sink(str(path)), peak, sample.modules(), sample.lines(), sample.trace())
    (row,) = csv.DictReader(io.StringIO(path.read_text()))
    assert (row["moment"], row["tier"], row["allocated"]) == ("peak", "deep", "100")


def test_csv_goes_on_without_a_second_header_and_forgets_the_last_run(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    written(open_sink(str(path)), sample.step(), sample.memory())
    written(open_sink(str(path), append=True), sample.step(), sample.run(), sample.memory(device="cuda:0\nx"))
    lines = path.read_text().splitlines()
    assert len(lines) == 3
    assert lines[2].split(",")[2] == "cuda:0 x"
    assert lines[2].endswith(",,,")


def test_a_torn_or_spoilt_log_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    written(open_sink(str(path)), sample.run(), sample.end())
    whole = path.read_bytes()
    extra = b'{"kind":"from-the-future","x":1}\nnot json\n{"kind":"end"}\n\n\xff\xfe\n[]\n'
    newer = whole.splitlines(keepends=True)[1].replace(b'"kind"', b'"new key":[1],"kind"')
    reader = LogReader(io.BytesIO(whole + extra + newer + whole[:40]))
    assert list(reader) == [sample.run(), sample.end(), sample.end()]
    assert (reader.malformed, reader.unknown, reader.torn) == (4, 1, True)


@pytest.mark.parametrize("cut", range(1, 200, 7))
def test_a_log_cut_anywhere_is_readable_up_to_its_last_whole_line(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "run.jsonl"
    written(open_sink(str(path)), *sample.all_kinds())
    data = path.read_bytes()[:-cut]
    reader = LogReader(io.BytesIO(data))
    assert list(reader) == sample.all_kinds()[: data.count(b"\n") + (cut == 1)], "the newline alone is no loss"
    assert (reader.malformed, reader.torn) == (0, cut != 1 and not data.endswith(b"\n"))


def test_an_endless_line_is_one_malformed_line() -> None:
    reader = LogReader(io.BytesIO(b"x" * (40 << 20) + b"\n" + b'{"kind":"?"}\n'))
    assert list(reader) == []
    assert (reader.malformed, reader.unknown) == (1, 1)


@pytest.mark.parametrize(
    ("path", "says", "remedy"),
    [
        ("absent folder/run.jsonl", "no folder 'absent folder'", "mkdir -p 'absent folder'"),
        ("file/run.jsonl", "no folder 'file'", "mkdir -p file"),
        ("dir.jsonl", "it is a folder", "dir.jsonl/run.jsonl"),
        ("run.txt", "format of the log 'run.txt'", ".jsonl or .csv"),
        ("run", "format of the log 'run'", ".jsonl or .csv"),
        ("pipe.jsonl", "nobody reads that pipe", "start its reader"),
    ],
)
def test_what_cannot_be_opened_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, says: str, remedy: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "dir.jsonl").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(SinkError) as caught:
        open_sink(path)
    assert says in caught.value.message
    assert remedy in caught.value.remedy
    assert "\n" not in str(caught.value)


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Root may write everywhere: be nobody for a moment."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


def test_no_permission_is_said_and_nothing_is_moved(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    (tmp_path / "run.jsonl").write_text("another run\n")
    tmp_path.chmod(0o500)
    request.getfixturevalue("unprivileged")
    with pytest.raises(SinkError, match="no permission"):
        open_sink(str(tmp_path / "run.jsonl"))


def test_read_only_for_everybody() -> None:
    with pytest.raises(SinkError, match=r"no permission|no folder"):
        open_sink("/proc/1/run.jsonl")


def test_formats_are_told_by_suffix() -> None:
    assert [check_path(path) for path in ("-", "a/b.jsonl", "B.CSV")] == [".jsonl", ".jsonl", ".csv"]
