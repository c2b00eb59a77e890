"""A log as if it were live: what the screens are given, and when."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from memtop import cli
from memtop.model.records import EndRecord, EventRecord
from memtop.model.snapshot import Phase, Snapshot
from memtop.session.played import Played
from memtop.session.replay import SPEEDS, Replay
from memtop.sinks.base import SinkError
from memtop.sinks.replay import read
from tests.unit import logs
from tests.unit import sample_records as sample


def finished(path: str | Path = logs.CNN) -> Snapshot:
    replay = Replay(str(path))
    replay.finish()
    return replay.snapshot()


class Watched:
    """A replay in its own thread, and a way to wait for what it shows."""

    def __init__(self, path: str | Path, speed: float) -> None:
        self.replay = Replay(str(path), speed)
        self._news = threading.Condition()
        self.replay.subscribe(self._told)

    def _told(self) -> None:
        with self._news:
            self._news.notify_all()

    def until(self, seen: Callable[[Snapshot], bool]) -> Snapshot:
        with self._news:
            assert self._news.wait_for(lambda: seen(self.replay.snapshot()), timeout=20)
        return self.replay.snapshot()

    def __enter__(self) -> Watched:
        self.replay.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.replay.close()


def ended(snapshot: Snapshot) -> bool:
    return snapshot.phase is Phase.ENDED


def test_a_forecast_of_the_log_is_shown() -> None:
    played = Played()
    played.take(sample.run())
    told = sample.forecast(device="cpu")
    played.take(told)
    assert played.forecasts.newest("cpu") == told
    assert played.forecasts.newest("cuda:0") is None


def test_the_last_picture_is_the_logs() -> None:
    shown, records = finished(), list(read(logs.CNN))
    (end,) = [record for record in records if isinstance(record, EndRecord)]
    assert (shown.phase, shown.end, shown.title, shown.device) == (Phase.ENDED, end, "cnn", "cpu")
    assert shown.highest is not None
    assert shown.highest.bytes == logs.peak()
    assert shown.step is not None
    assert shown.step.step == 40
    assert set(shown.moments) == {"forward_end", "backward_end", "step_end", "peak"}
    assert shown.deep is not None
    assert shown.deep.modules is not None
    assert shown.deep.lines is not None
    assert shown.deep.trace is not None
    assert shown.theory["parameters"].bytes == 456_744
    assert shown.overhead_percent == end.overhead_percent
    assert shown.host is not None
    assert max(value or 0 for value in shown.series["tensors"]) == end.peak["cpu"]["tensors"]


def test_nothing_can_be_asked_of_what_is_over() -> None:
    shown = finished()
    assert shown.choices == ()
    assert shown.replay == 1.0
    replay = Replay(str(logs.CNN))
    assert replay.start_log("x.jsonl") is not None
    assert not replay.is_command
    assert not Path("x.jsonl").exists()
    assert replay.output_since(0)[1] == ["a log does not hold what the training printed"]


def test_it_plays_at_its_speed_to_the_same_end() -> None:
    with Watched(logs.CNN, 1000.0) as watched:
        last = watched.until(ended)
    assert last.highest == finished().highest
    assert last.step == finished().step


def test_it_waits_for_the_time_of_a_record_is_held_and_let_go() -> None:
    with Watched(logs.CNN, 0.01) as watched:
        first = watched.until(lambda shown: shown.host is not None)
        assert first.step is None  # the first step comes seconds into the run
        watched.replay.pause()
        held = watched.until(lambda shown: shown.phase is Phase.PAUSED)
        assert held.phase_text.startswith("replay held, ×0.01")
        for _ in SPEEDS:
            watched.replay.faster(1)
        assert watched.replay.snapshot().step is None
        watched.replay.resume()
        assert watched.until(ended).replay == SPEEDS[-1]


def test_it_plays_again_from_its_beginning() -> None:
    with Watched(logs.CNN, 1000.0) as watched:
        watched.until(ended)
        for _ in SPEEDS:
            watched.replay.faster(-1)
        watched.replay.restart()
        again = watched.until(lambda shown: not ended(shown))
        assert again.end is None
        assert again.step is None


def test_the_runs_of_a_session_follow_each_other(tmp_path: Path) -> None:
    def second(record: logs.Line) -> None:
        if record["kind"] == "run":
            record["settings"]["batch_size"] = 8

    more = logs.lines()
    for record in more:
        second(record)
    path = logs.write(tmp_path / "two.jsonl", logs.lines() + more)
    assert finished(path).settings["batch_size"] == 8
    with Watched(path, 1000.0) as watched:
        watched.until(lambda shown: shown.settings.get("batch_size") == 4)
        last = watched.until(lambda shown: ended(shown) and shown.settings.get("batch_size") == 8)
    assert last.step is not None
    assert last.step.step == 40


def test_a_log_that_was_cut_off_says_so(tmp_path: Path) -> None:
    shown = finished(logs.cut_off(tmp_path / "cut.jsonl"))
    assert shown.phase_text == "the log ends here"
    assert shown.banner is not None
    assert shown.banner.text == "the log ends before the run does: its last line is cut off"
    assert shown.end is None
    whole = tmp_path / "noend.jsonl"
    logs.write(whole, logs.lines()[:-1])
    banner = finished(whole).banner
    assert banner is not None
    assert banner.text.endswith("it has no end record")


def test_an_oom_and_a_failed_run_are_the_first_line() -> None:
    played = Played()
    played.take(sample.run())
    played.take(EventRecord(t=1.0, name="oom", message="out of memory on cuda:0", data={}))
    assert played.around.problem is not None
    assert played.around.problem.text == "out of memory on cuda:0"


def test_a_run_that_failed_says_its_status(tmp_path: Path) -> None:
    def fail(record: logs.Line) -> None:
        if record["kind"] == "end":
            record["exit_code"] = 3

    banner = finished(logs.write(tmp_path / "x.jsonl", logs.lines(), fail)).banner
    assert banner is not None
    assert banner.severity == "error"
    assert "exit status 3" in banner.text


def test_a_log_without_its_first_line_is_shown(tmp_path: Path) -> None:
    shown = finished(logs.write(tmp_path / "x.jsonl", logs.lines()[5:]))
    assert shown.title == "log"
    assert shown.highest is not None


@pytest.mark.parametrize("how", ["start", "finish"])
def test_what_is_no_log_is_refused(how: str, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("hello\n")
    with pytest.raises(SinkError, match="holds no record of a run"):
        getattr(Replay(str(path)), how)()


def test_the_command_prints_the_last_picture(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["replay", "--once", str(logs.CNN)]) == 0
    text = capsys.readouterr().out
    assert "peak 4.09 MiB in backward" in text
    assert "after 40 steps" in text


def test_no_escape_of_a_log_reaches_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = "\x1b]0;title\x07\x1b[31mred\u202e"

    def spoil(record: logs.Line) -> None:
        if record["kind"] == "run":
            record |= {"scenario": None, "command": [bad], "settings": {bad: bad}}
            record["host"] |= {"cpu_model": bad, "hostname": bad}
        elif record["kind"] in ("model", "event"):
            record |= {"name": bad, "message": bad} if record["kind"] == "event" else {"name": bad}
        elif record["kind"] == "memory":
            record |= {
                "notes": [bad],
                "where": {"phase": bad, "module": bad, "operator": bad, "line": bad, "text": bad},
            }

    assert cli.main(["replay", logs.write(tmp_path / "x.jsonl", logs.lines(), spoil)]) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "red" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nope.jsonl"], "nope.jsonl can't be read: no such file or directory"),
        (["--speed", "0", "x"], "run seconds a second must be at least 0.01"),
        ([], "missing argument 'LOG'"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["replay", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert says in err
