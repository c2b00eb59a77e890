"""Where memtop's processes meet: a folder and sockets for one user alone."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from memtop.launcher import meeting
from memtop.launcher.target import LaunchError
from memtop.probe import visits


@pytest.fixture(autouse=True)
def runtime(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("r")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


def test_both_ends_look_at_the_same_place(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert meeting.folder() == visits.folder() == runtime / "memtop"
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    assert meeting.folder() == visits.folder() == Path(f"/tmp/memtop-{os.getuid()}")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert meeting.folder() == visits.folder() == Path(f"/tmp/memtop-{os.getuid()}")


def test_nobody_else_can_come_in(runtime: Path) -> None:
    before = os.umask(0)
    try:
        listener, path = meeting.listen("run")
        other, second = visits._listen()
    finally:
        os.umask(before)
    with listener, other:
        assert stat.S_IMODE((runtime / "memtop").stat().st_mode) == 0o700
        assert [stat.S_IMODE(Path(one).stat().st_mode) for one in (path, second)] == [0o600, 0o600]
        assert [(one.kind, one.pid) for one in meeting.places()] == [("run", os.getpid()), ("start", os.getpid())]


@pytest.mark.parametrize("how", ["open", "link", "file"])
def test_a_folder_that_is_not_ours_alone_is_refused(runtime: Path, how: str) -> None:
    there = runtime / "memtop"
    if how == "open":
        there.mkdir()
        there.chmod(0o750)
    elif how == "link":
        (runtime / "elsewhere").mkdir(mode=0o700)
        there.symlink_to(runtime / "elsewhere")
    else:
        there.touch(mode=0o600)
    with pytest.raises(LaunchError, match="not yours alone"):
        meeting.listen("run")
    with pytest.raises(PermissionError, match="not yours alone"):
        visits._listen()
    assert meeting.places() == []


def test_a_folder_of_another_user_is_refused(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (runtime / "memtop").mkdir(mode=0o700)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(LaunchError, match="not yours alone"):
        meeting.listen("run")
    with pytest.raises(PermissionError):
        visits._listen()


@pytest.mark.parametrize("ask", [meeting.is_same_user, visits._is_same_user])
def test_the_kernel_says_whose_the_other_end_is(ask: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert callable(ask)
    one, two = socket.socketpair()
    with one, two:
        assert ask(one)
        if os.getuid() != 0:  # Root may always look.
            monkeypatch.setattr(os, "getuid", lambda: 12345)
            assert not ask(one)


@pytest.mark.parametrize("ask", [meeting.is_same_user, visits._is_same_user])
@pytest.mark.parametrize(("uid", "welcome"), [(4711, False), (0, True)])
def test_another_user_is_not_let_in(ask: object, uid: int, welcome: bool) -> None:
    class Peer:
        def getsockopt(self, *_: int) -> bytes:
            return (1).to_bytes(4, "little") + uid.to_bytes(4, "little") + (1).to_bytes(4, "little")

    assert callable(ask)
    assert ask(Peer()) is (welcome or uid == os.getuid())


def test_what_a_dead_process_left_is_taken_away() -> None:
    listener, path = meeting.listen("run")
    (place,) = meeting.places()
    link = meeting.call(place, 1.0)
    assert link is not None
    link.close()
    listener.close()
    assert meeting.call(place, 1.0) is None
    assert not path.exists()
