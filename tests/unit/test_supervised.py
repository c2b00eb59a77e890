"""A session behind a supervisor's socket: what a screen gets, and what happens when either of them goes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from memtop.launcher.target import LaunchError
from memtop.model.snapshot import Phase, Tracked
from memtop.protocol.supervised import Ask, Done, receive, send
from memtop.session import supervisor as supervising
from memtop.session.options import Options
from memtop.session.remote import Remote
from memtop.session.supervisor import Supervisor
from memtop.sinks import SinkError
from tests.process.failing import eventually
from tests.tui import deep_fakes, fakes
from tests.tui.batch_fakes import colour


class Here(fakes.FakeSession):
    """A session in the supervisor's place."""

    status: int | None = None
    pid: int | None = 71
    command = ("train.py",)

    def tracked_since(self, number: int) -> tuple[int, list[Tracked]]:
        return len(self.now.tracked), list(self.now.tracked)[number:]

    def warn(self, text: str, remedy: str | None = None) -> None:
        self.warned = text


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Here:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    session = Here(deep_fakes.tracked_cnn())
    monkeypatch.setattr(supervising, "Session", lambda _: session)
    return session


@pytest.fixture
def remote(here: Here) -> Iterator[Remote]:
    ours, theirs = zip(socket.socketpair(), socket.socketpair(), strict=True)
    supervisor = Supervisor(Options(command=("train.py",)))
    thread = threading.Thread(target=supervisor.serve, args=(list(theirs),), daemon=True)
    thread.start()
    remote = Remote(*ours)
    yield remote
    remote.close()
    supervisor.end()
    thread.join(10)
    assert not thread.is_alive()


def test_a_snapshot_passes_whole(here: Here, remote: Remote) -> None:
    assert remote.snapshot() == here.snapshot()


def test_frames_are_believed_only_whole() -> None:
    one, two = socket.socketpair()
    with one, two:
        send(one, Ask(verb="news", lines=3))
        assert receive(two, msgspec.json.Decoder(Ask)) == Ask(verb="news", lines=3)
        one.sendall(b"\xff\xff\xff\xff")
        with pytest.raises(OSError, match="absurd"):
            receive(two, msgspec.json.Decoder(Ask))
        send(one, {"verb": "format the disk"})
        with pytest.raises(OSError, match="not understood"):
            receive(two, msgspec.json.Decoder(Ask))
        one.close()
        with pytest.raises(ConnectionError):
            receive(two, msgspec.json.Decoder(Done))


def test_news_come_and_what_is_known_is_not_sent_again(here: Here, remote: Remote) -> None:
    told = []
    remote.subscribe(lambda: told.append(True))
    assert remote.snapshot().deep is not None
    here.lines += ["one more", "and one"]
    here.publish(replace(here.now, t=here.now.t + 1))
    assert eventually(lambda: remote.snapshot() == here.now and remote.output_since(0) == here.output_since(0))
    total = len(here.lines)
    assert remote.output_since(total - 1) == (total, ["and one"])
    assert remote.tracked_since(0) == here.tracked_since(0)
    assert told
    here.publish(replace(here.now, deep=None))
    assert eventually(lambda: remote.snapshot().deep is None)


def test_a_batch_passes_once_and_stays(here: Here, remote: Remote) -> None:
    here.publish(replace(here.now, batch=colour()))
    assert eventually(lambda: remote.snapshot().batch == colour())
    seen = remote.snapshot().batch
    here.publish(replace(here.now, t=here.now.t + 1))
    assert eventually(lambda: remote.snapshot() == here.now)
    assert remote.snapshot().batch is seen, "the same object: it was not sent again"
    here.publish(replace(here.now, batch=replace(colour(), step=9)))
    assert eventually(lambda: remote.snapshot() == here.now)


def test_deeds_reach_the_session(here: Here, remote: Remote) -> None:
    remote.start()
    remote.start()
    remote.pause()
    remote.resume()
    remote.deep_look()
    remote.stop_logs()
    assert remote.start_log("run.jsonl") is None
    here.log_error = "the disk is full"
    assert remote.start_log("/b.jsonl") == "the disk is full"
    names = ["start", "pause", "resume", "deep_look", "stop_logs", "start_log", "start_log"]
    assert [call[0] for call in here.calls] == names
    assert here.calls[-2][1] == str(Path.cwd() / "run.jsonl")


@pytest.mark.parametrize("error", [LaunchError("no", "do"), SinkError("no", "do")])
def test_what_can_not_start_says_why(here: Here, remote: Remote, error: Exception) -> None:
    here._fails = error
    with pytest.raises(LaunchError) as caught:
        remote.start()
    assert (caught.value.message, caught.value.remedy) == ("no", "do")


def test_a_training_does_not_stay_paused_for_nobody(here: Here, remote: Remote) -> None:
    remote.start()
    here.publish(replace(here.now, phase=Phase.PAUSED))
    assert eventually(lambda: remote.snapshot().phase is Phase.PAUSED)
    assert ("resume",) not in here.calls
    remote.close()
    assert eventually(lambda: ("resume",) in here.calls)


def test_a_supervisor_that_is_gone_is_said(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    (news, theirs), (deeds, others) = socket.socketpair(), socket.socketpair()
    supervisor = Supervisor(Options(command=("train.py",)))
    supervisor._welcome(theirs)
    remote = Remote(news, deeds)
    assert remote.snapshot().phase is not Phase.LOST
    theirs.shutdown(socket.SHUT_RDWR)
    others.close()
    assert eventually(lambda: remote.snapshot().phase is Phase.LOST)
    banner = remote.snapshot().banner
    assert banner is not None
    assert "the supervisor is gone" in banner.text
    assert remote.start_log("/x.jsonl") == "the supervisor is gone"
    remote.close()


def test_without_a_folder_to_meet_in_a_run_goes_on(here: Here, tmp_path: Path) -> None:
    (tmp_path / "memtop").touch()
    one, two = socket.socketpair()
    supervisor = Supervisor(Options(command=("train.py",)))
    thread = threading.Thread(target=supervisor.serve, args=([two],), daemon=True)
    thread.start()
    assert eventually(lambda: "memtop connect can't find this run" in getattr(here, "warned", ""))
    one.close()
    thread.join(10)
    assert not thread.is_alive()
