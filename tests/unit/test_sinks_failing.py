"""Full disks, closed pipes, readers that don't read: the run goes on, the log stops at a whole line and says why."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from memtop.model.records import Record
from memtop.sinks import lines, open_sink
from memtop.sinks.jsonl import JsonlSink, line
from memtop.sinks.replay import LogReader, read
from tests.unit import sample_records as sample

ROOT = Path(__file__).parents[2]


def sink_on(fd: int) -> JsonlSink:
    return JsonlSink("-", lines.line_out(fd))


def read_all(fd: int, into: list[Record]) -> None:
    with open(fd, "rb") as file:
        into.extend(LogReader(file))


def wait_until_failed(sink: JsonlSink, limit: float = 5.0) -> str:
    """The pipe's thread finds out on its own; meet it by its end."""
    out = sink._out
    assert isinstance(out, lines.LinePipe)
    out._thread.join(limit)
    assert not out._thread.is_alive()
    return sink.state().error or ""


def test_a_disk_that_fills_up_leaves_whole_lines_and_one_error(tmp_path: Path) -> None:
    """RLIMIT_FSIZE cuts a write short exactly as a full disk does: some bytes, then an error."""
    path = tmp_path / "run.jsonl"
    room = 10 * len(line(sample.memory())) + 17
    program = f"""
        import resource
        from memtop.sinks import open_sink
        from tests.unit import sample_records as sample
        sink = open_sink({str(path)!r})
        resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, resource.RLIM_INFINITY))
        for _ in range(30):
            sink.write(sample.memory())
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        sink.write(sample.end())
        sink.close()
        state = sink.state()
        print(state.ok, state.records, state.error)
    """
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        cwd=ROOT,
    )
    assert child.stdout == "False 10 the file size limit is reached\n"
    assert list(read(path)) == [sample.memory()] * 10
    assert path.stat().st_size == 10 * len(line(sample.memory()))


def test_a_full_device(tmp_path: Path) -> None:
    sink = sink_on(os.open("/dev/full", os.O_WRONLY))
    sink.write(sample.run())
    assert wait_until_failed(sink) == "no space left on the disk"
    sink.write(sample.end())
    sink.close()
    assert not sink.state().ok


def test_a_small_disk(tmp_path: Path) -> None:
    """A real file system of 64 KiB, where this user may mount one."""
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "memtop-test", str(tmp_path)], capture_output=True
    )
    if mount.returncode:
        pytest.skip("can't mount a tmpfs here")
    try:
        sink = open_sink(str(tmp_path / "run.jsonl"))
        for _ in range(500):
            sink.write(sample.memory())
        state = sink.state()
        sink.close()
        assert (state.ok, state.error) == (False, "no space left on the disk")
        assert state.records == len(list(read(tmp_path / "run.jsonl"))) > 50
        assert (tmp_path / "run.jsonl").read_bytes().endswith(b"}\n")
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_log_that_is_deleted_is_not_written_into_the_void(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    sink = open_sink(str(path))
    sink.write(sample.run())
    path.unlink()
    sink.write(sample.end())
    assert (sink.state().ok, sink.state().error) == (False, "the file was deleted")
    sink.close()


def test_a_reader_that_leaves_ends_the_log_quietly() -> None:
    reader, writer = os.pipe()
    sink = sink_on(writer)
    sink.write(sample.run())
    assert os.read(reader, 1 << 16) == line(sample.run())
    os.close(reader)
    sink.write(sample.end())
    assert wait_until_failed(sink) == "its reader is gone"
    sink.write(sample.end())
    sink.close()


def test_a_reader_that_does_not_read_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "CLOSE_SECONDS", 0.05)
    monkeypatch.setattr(lines, "QUEUE_BYTES", 1 << 16)
    reader, writer = os.pipe()
    sink = sink_on(writer)
    for _ in range(1000):
        sink.write(sample.memory())
    lost = sink.state()
    assert lost.ok
    assert lost.error == f"{1000 - lost.records:,} records not written: the reader is too slow"
    sink.close()
    assert "nobody reads" in (sink.state().error or "")
    os.close(reader)
    wait_until_failed(sink)


def test_a_slow_reader_loses_samples_and_never_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "QUEUE_BYTES", 1 << 16)
    reader, writer = os.pipe()
    sink = sink_on(writer)
    sink.write(sample.run())
    for _ in range(1000):
        sink.write(sample.memory())
    sink.write(sample.end())
    taken = sink.state().records
    got: list[Record] = []
    thread = threading.Thread(target=read_all, args=(reader, got))
    thread.start()
    sink.close()
    thread.join(10)
    assert len(got) == taken < 1002
    assert (got[0], got[-1]) == (sample.run(), sample.end())


def test_a_stdout_that_somebody_made_non_blocking() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    sink = sink_on(writer)
    for _ in range(300):
        sink.write(sample.memory())
    got: list[Record] = []
    thread = threading.Thread(target=read_all, args=(reader, got))
    select.select([reader], [], [], 5)
    thread.start()
    sink.close()
    thread.join(10)
    assert got == [sample.memory()] * 300


def test_stdout_into_a_file_and_into_nothing(tmp_path: Path) -> None:
    program = "from memtop.sinks import open_sink\nfrom tests.unit import sample_records as s\n"
    program += "k = open_sink('-'); k.write(s.run()); k.write(s.end()); k.close()"
    with (tmp_path / "out").open("wb") as out:
        subprocess.run([sys.executable, "-c", program], stdout=out, check=True, timeout=30, cwd=ROOT)
    assert list(read(tmp_path / "out")) == [sample.run(), sample.end()]
    closed = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" >&-', sys.executable, program],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=ROOT,
    )
    assert "can't log to stdout: it is closed" in closed.stderr.splitlines()[-1]
