"""The headless front end: what ends it, its exit status, and where its words go. No process is started."""

from __future__ import annotations

import io
import itertools
import os
import signal
import sys
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from memtop import headless
from memtop.model.records import DeviceRecord, EndRecord
from memtop.model.snapshot import DeepLook, Phase, Snapshot, Tracked
from memtop.session import Options
from memtop.sinks.lines import READER_GONE
from tests.unit import sample_records as sample
from tests.unit.fake_session import FakeSession, snapshot, with_log

Play = Callable[..., FakeSession]


class Terminal(io.StringIO):
    """A terminal whose last line can be read as a person sees it."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError("not a real one")

    def rows(self) -> list[str]:
        """What stands on the screen once every carriage return was obeyed."""
        shown = []
        for line in self.getvalue().split("\n"):
            row = ""
            for part in line.split("\r"):
                row = part + row[len(part) :]
            shown.append(row.rstrip())
        return shown


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    """Put a scripted session in place of a real one; each look at the clock is a second later."""
    clock = itertools.count()
    monkeypatch.setattr(headless, "monotonic", lambda: float(next(clock)))

    def put(*args: object, **more: object) -> FakeSession:
        session = FakeSession(*args, **more)  # type: ignore[arg-type]
        monkeypatch.setattr(headless, "Session", session)
        return session

    return put


@pytest.mark.parametrize(
    ("end", "options", "status"),
    [
        (sample.end(exit_code=0), Options(), 0),
        (sample.end(exit_code=7), Options(), 7),
        (sample.end(exit_code=None, signal=signal.SIGSEGV), Options(), 139),
        (sample.end(exit_code=None, signal=signal.SIGKILL), Options(), 137),
        (sample.end(exit_code=None, signal=signal.SIGTERM, seconds=5.0), Options(duration=5.0), 0),
        (sample.end(exit_code=None, signal=signal.SIGTERM, seconds=4.0), Options(duration=5.0), 143),
        (sample.end(exit_code=None, signal=signal.SIGSEGV, seconds=6.0), Options(duration=5.0), 139),
        (sample.end(exit_code=None, signal=None), Options(), 1),
        (None, Options(), 1),
    ],
)
def test_exit_status(end: EndRecord | None, options: Options, status: int) -> None:
    assert headless.exit_status(end, options) == status


def test_a_run_to_its_end_leaves_a_summary_and_nothing_on_stdout(
    play: Play, capsys: pytest.CaptureFixture[str]
) -> None:
    session = play([snapshot(logs=with_log("run.jsonl", note="the run.jsonl that was there is now run.1.jsonl"))])
    assert headless.run(Options()) == 0
    assert session.closed == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "memtop: mlp-mnist: exit status 0, 1 step in 4.0 s, 52.1 step/s, batch 64, 3,334 samples/s",
        "  highest seen on cpu: 432 KiB of tensors (parameters 398 KiB, activations 34.5 KiB)",
        "  log run.jsonl: 1,204 records; the run.jsonl that was there is now run.1.jsonl",
    ]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_target_and_is_the_status(play: Play, number: int, status: int) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    killed = sample.end(exit_code=None, signal=signal.SIGTERM)
    session = play(
        [snapshot()] * 50, killed, on_wait=lambda count: os.kill(os.getpid(), number) if count == 3 else None
    )
    assert headless.run(Options()) == status
    assert session.waits <= 4, "it went on after the signal"
    assert session.closed == 1
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_an_ignored_hangup_stays_ignored(play: Play) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        play([snapshot()] * 5, on_wait=lambda _: os.kill(os.getpid(), signal.SIGHUP))
        assert headless.run(Options()) == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_reader_that_leaves_ends_the_run(play: Play, capsys: pytest.CaptureFixture[str]) -> None:
    gone = snapshot(logs=with_log("-", ok=False, error=READER_GONE))
    session = play([snapshot(logs=with_log("-")), gone, *[gone] * 20])
    assert headless.run(Options(logs=("-",))) == 141
    assert session.waits == 2
    assert "log stdout stopped after 1,204 records; its reader is gone" in capsys.readouterr().err


@pytest.mark.parametrize("log", ["run.jsonl", "-"])
def test_a_full_disk_stops_the_log_and_not_the_training(
    play: Play, log: str, capsys: pytest.CaptureFixture[str]
) -> None:
    play([snapshot(logs=with_log(log, ok=False, error="no space left on the disk"))] * 3)
    assert headless.run(Options(logs=(log,))) == 0
    assert "stopped after 1,204 records; no space left on the disk" in capsys.readouterr().err


def test_where_the_targets_words_go(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    def output(*, log: str, stderr_is_terminal: bool, stdout_is_terminal: bool) -> str:
        monkeypatch.setattr(sys, "stdout", Terminal() if stdout_is_terminal else io.StringIO())
        session = play([snapshot()])
        headless.run(Options(logs=(log,)), progress=Terminal() if stderr_is_terminal else None)
        return session.options.output

    assert output(log="-", stderr_is_terminal=False, stdout_is_terminal=False) == "stderr"
    assert output(log="-", stderr_is_terminal=True, stdout_is_terminal=False) == "capture"
    assert output(log="a.csv", stderr_is_terminal=False, stdout_is_terminal=True) == "inherit"
    assert output(log="a.csv", stderr_is_terminal=True, stdout_is_terminal=False) == "inherit"
    assert output(log="a.csv", stderr_is_terminal=True, stdout_is_terminal=True) == "capture"


def test_the_progress_line_is_one_line_and_goes_away(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    seen: list[str] = []
    play([snapshot()] * 3, output=["epoch 1", "epoch 2"], on_wait=lambda _: seen.append(terminal.rows()[-1]))
    headless.run(Options(), progress=terminal)
    line = "mlp-mnist  step 20/200  tensors 398 KiB, highest 398 KiB  52.1 step/s"
    assert seen[1].startswith(line), "drawn below what the target printed"
    assert len(seen[1]) < 80
    assert terminal.rows() == ["epoch 1", "epoch 2", ""]


def test_output_that_was_too_much_is_said(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    session = play([snapshot()])
    monkeypatch.setattr(session, "output_since", lambda line: (1000, ["last"] if line < 1000 else []))
    headless.run(Options(), progress=terminal)
    assert terminal.rows()[:2] == ["... 999 lines not shown", "last"]


def mark(number: int) -> Tracked:
    return Tracked(t=1.0, place=f"train.py:{number}", label="", gained=(), lost=(), total=8)


def test_marks_are_printed_as_they_come(play: Play, capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []

    def come(wait: int) -> None:
        said.append(capsys.readouterr().err)
        if wait <= 2:
            session.tracked.append(mark(wait))

    session = play([snapshot()] * 4, on_wait=come)
    assert headless.run(Options()) == 0
    tables = [f"train.py:{number}\n  nothing new, nothing gone\n  = 8 B in all\n" for number in (1, 2)]
    assert said == ["", *tables, "", ""]


def test_marks_do_not_break_the_progress_line(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    seen: list[list[str]] = []

    def come(wait: int) -> None:
        seen.append(terminal.rows())
        if wait == 2:
            session.output.append("epoch 1")
            session.tracked.append(mark(7))
        if wait == 3:
            session.tracked.append(mark(8))

    session = play([snapshot()] * 4, on_wait=come)
    headless.run(Options(), progress=terminal)
    assert seen[2][:4] == ["epoch 1", "train.py:7", "  nothing new, nothing gone", "  = 8 B in all"]
    assert seen[2][4].startswith("mlp-mnist  step 20/200"), "drawn anew at once"
    assert len(seen[2]) == 5
    assert seen[3][4:7] == ["train.py:8", "  nothing new, nothing gone", "  = 8 B in all"], "without other output too"


def test_marks_that_were_too_many_are_counted(
    play: Play, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session = play([snapshot()])
    monkeypatch.setattr(session, "tracked_since", lambda number: (1000, [mark(9)] if number < 1000 else []))
    headless.run(Options())
    assert capsys.readouterr().err.splitlines()[:2] == ["... 999 marks not shown", "train.py:9"]


def test_the_last_words_name_the_peak(play: Play, capsys: pytest.CaptureFixture[str]) -> None:
    record = sample.memory(moment="peak", tier="deep", where=sample.WHERE)
    play([snapshot(deep=DeepLook(t=1.0, step=2, peak=record))])
    headless.run(Options())
    assert capsys.readouterr().err.splitlines()[2].startswith("  peak 398 KiB in backward, conv3 (aten.")


def test_a_terminal_that_is_gone_is_no_failure(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(Terminal):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(sys, "stderr", Gone())
    play([snapshot()] * 3)
    assert headless.run(Options(), progress=Gone()) == 0


# --once


def ready(pss: int | None) -> Snapshot:
    cpu = next(record for record in sample.all_kinds() if isinstance(record, DeviceRecord))
    moments = {name: sample.memory(step=2, moment=name) for name in ("forward_end", "backward_end", "step_end")}
    return snapshot(moments=moments, cpu=replace(cpu, tree_pss=pss))


def test_once_waits_for_a_whole_second_step_with_pss(play: Play) -> None:
    first = {name: sample.memory(step=1, moment=name) for name in ("forward_end", "backward_end", "step_end")}
    half = {name: sample.memory(step=2, moment=name) for name in ("forward_end", "backward_end")}
    frames = [snapshot(phase=Phase.IMPORTING), snapshot(moments=first), snapshot(moments=half), ready(None), ready(7)]
    session = play([*frames, *[ready(8)] * 9])
    drawn: list[Snapshot] = []
    status, text = headless.once(Options(), lambda shot: drawn.append(shot) or "screen")
    assert (status, text, session.closed, session.options.output) == (0, "screen", 1, "capture")
    assert drawn == [ready(7)]


def test_once_does_not_wait_for_ever(play: Play) -> None:
    session = play([ready(None)] * 99)
    assert headless.once(Options(), lambda _: "x") == (0, "x")
    assert session.waits < 10, "PSS is not to be had everywhere"
    session = play([snapshot(phase=Phase.IMPORTING)] * 99)
    assert headless.once(Options(), lambda _: "x") == (0, "x")
    assert session.waits <= headless.ONCE_LIMIT


def test_once_shows_how_it_failed(play: Play) -> None:
    play([snapshot()], sample.end(exit_code=1))
    assert headless.once(Options(), lambda _: "screen") == (1, "screen")


def test_once_and_ctrl_c(play: Play) -> None:
    session = play([snapshot()] * 50, on_wait=lambda _: os.kill(os.getpid(), signal.SIGINT))
    assert headless.once(Options(), lambda _: "screen") == (130, "")
    assert session.closed == 1
