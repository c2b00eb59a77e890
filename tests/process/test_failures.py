"""When things go wrong, with real children: the right status, a log that can be read, and nobody left."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from memtop.launcher.target import Address
from memtop.sinks.replay import LogReader
from tests.process.failing import GONE, LIMIT, Place, eventually, scenario, terminal

MNIST = ("--scenario", "mlp-mnist", "--device", "cpu")


def kinds(log: Path) -> list[str]:
    """The log's kinds of record; every whole line must be one."""
    with log.open("rb") as file:
        reader = LogReader(file)
        found = [record.kind for record in reader]
    assert reader.malformed == 0
    return found


def until_step(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    assert any(json.loads(line)["kind"] == "step" for line in process.stdout)


ENDS = {
    "raises": ("raise RuntimeError('no')", 1),
    "segfaults": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", 139),
    "leaves": ("import os; os._exit(3)", 3),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_script_that_fails(place: Place, tmp_path: Path, how: str) -> None:
    script, status = ENDS[how]
    log = tmp_path / "run.jsonl"
    process = place.memtop("--headless", "--log", str(log), root=scenario(tmp_path, script))
    process.communicate(timeout=LIMIT)
    assert process.returncode == status
    assert kinds(log)[-1] == "end"
    assert place.nobody_left()
    assert not place.folders()


def test_a_script_that_ignores_term_is_killed_after_a_second(place: Place, tmp_path: Path) -> None:
    script = """
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("deaf", flush=True)
        while True:
            signal.pause()
    """
    log = tmp_path / "run.jsonl"
    process = place.memtop("--headless", "--log", str(log), root=scenario(tmp_path, script))
    assert process.stdout is not None
    assert process.stdout.readline() == b"deaf\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=LIMIT)
    assert process.returncode == 130
    assert json.loads(log.read_text().splitlines()[-1])["signal"] == signal.SIGKILL
    assert place.nobody_left()


def test_megabytes_without_a_newline_block_nobody(place: Place, tmp_path: Path) -> None:
    script = """
        import sys
        sys.stdout.write("x" * 8_000_000)
        sys.stderr.write("y" * 8_000_000)
    """
    root = scenario(tmp_path, script)
    process = place.memtop("--headless", root=root)
    out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, out.count(b"x"), err.count(b"y") >= 8_000_000) == (0, 8_000_000, True)
    once = place.memtop("--once", root=root)  # here both are captured
    once.communicate(timeout=LIMIT)
    assert once.returncode == 0


def test_lines_that_are_no_messages_do_not_break_the_session(place: Place, tmp_path: Path) -> None:
    script = r"""
        import json, os, socket
        link = socket.socket(socket.AF_UNIX)
        link.connect(os.environ["MEMTOP_SOCKET"])
        base = {"t_ns": 1, "pid": os.getpid()}
        event = base | {"kind": "event", "name": "\x1b[2J", "message": "\x1b]0;owned\x07[bold]", "data": {}}
        link.sendall(b"\xff\n{\n" + b"[" * 100_000 + b"\n" + b"x" * 3_000_000 + b"\n")
        link.sendall(json.dumps(event | {"message": "\udcff"}).encode() + b"\n")
        link.sendall(b'{"kind":"event","t_ns":1,"pid":%d,"name":"\xff","message":"","data":{}}\n' % os.getpid())
        link.sendall(json.dumps(event | {"t_ns": 10 ** 400}).encode() + b"\n")
        deep = '{"kind":"event","t_ns":1,"pid":1,"name":"","message":"","data":{"a":' + "[" * 9000 + "]" * 9000 + "}}\n"
        link.sendall(deep.encode())
        link.sendall(json.dumps(event).encode() + b"\n")
        link.close()
    """
    log = tmp_path / "run.jsonl"
    process = place.memtop("--headless", "--log", str(log), root=scenario(tmp_path, script))
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, err.decode()
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert [one["message"] for one in records if one.get("name") == ""] == ["[bold]"]
    assert (records[-1]["kind"], records[-1]["dropped"]) == ("end", 8)


def test_a_script_that_closes_our_connection_trains_on(place: Place, tmp_path: Path) -> None:
    script = """
        import os, socket
        os.closerange(3, 256)
        ended = [socket.socketpair() for _ in range(4)]  # one of them gets our number: its end is not our monitor's
        for one, other in ended:
            other.close()
        here, there = socket.socketpair()
        here.settimeout(0.5)
        try:
            here.recv(1)
        except TimeoutError:
            os._exit(7)
    """
    process = place.memtop("--headless", root=scenario(tmp_path, script))
    process.communicate(timeout=LIMIT)
    assert process.returncode == 7


@pytest.mark.parametrize("when", ["starting", "importing", "training"])
def test_a_killed_monitor_takes_its_training_along(place: Place, when: str) -> None:
    process = place.memtop("--headless", *MNIST, "--log", "-")
    if when == "training":
        until_step(process)
    target = place.target()
    if when == "importing":
        assert eventually(lambda: any("libtorch" in one.path for one in target.memory_maps()))
    process.kill()
    process.communicate(timeout=LIMIT)
    assert place.nobody_left()


def test_a_monitor_killed_over_unread_records_takes_its_training_along(place: Place) -> None:
    process = place.memtop("--headless", *MNIST, "--log", "-")
    until_step(process)
    target = place.target()
    process.send_signal(signal.SIGSTOP)
    before = sum(target.cpu_times()[:2])
    assert eventually(lambda: sum(target.cpu_times()[:2]) > before + 0.3)
    process.kill()
    process.communicate(timeout=LIMIT)
    assert place.nobody_left()


@pytest.mark.parametrize("how", ["killed", "vanished"])
def test_the_screen_goes_away(place: Place, tmp_path: Path, how: str) -> None:
    log = tmp_path / "run.jsonl"
    with terminal(place, *MNIST, "--log", str(log)) as screen:
        assert eventually(lambda: log.exists() and b'"kind":"step"' in log.read_bytes()), bytes(screen.seen[-500:])
        if how == "killed":
            screen.process.kill()
        else:
            screen.vanish()
        assert place.nobody_left()
        assert screen.process.wait(GONE) == (-signal.SIGKILL if how == "killed" else 128 + signal.SIGHUP)
    assert kinds(log)[0] == "run"
    if how == "vanished":
        assert kinds(log)[-1] == "end"
        assert not place.folders()


def test_a_tiny_terminal_starts_and_quits(place: Place, tmp_path: Path) -> None:
    script = "import signal; signal.pause()"
    with terminal(place, root=scenario(tmp_path, script), size=(20, 5)) as screen:
        place.target()
        screen.type(b"q")
        assert screen.process.wait(LIMIT) == 0
    assert place.nobody_left()
    assert b"Traceback" not in screen.seen


def test_a_terminal_that_can_do_nothing_gets_text(place: Place, tmp_path: Path) -> None:
    with terminal(place, root=scenario(tmp_path, "print('hello')"), TERM="dumb") as screen:
        assert screen.process.wait(LIMIT) == 0
        assert eventually(lambda: b"memtop" in screen.seen)
    assert b"\x1b" not in screen.seen


def test_no_utf8_and_no_colour(place: Place, tmp_path: Path) -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii", "NO_COLOR": "1"}
    process = place.memtop(root=scenario(tmp_path, "print('hello')"), env=plain)
    out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, b"Traceback" in err) == (0, False)
    assert out.isascii()
    assert b"\x1b" not in out


def test_a_full_device_stops_the_log_alone(place: Place, tmp_path: Path) -> None:
    log = tmp_path / "run.jsonl"
    log.symlink_to("/dev/full")
    process = place.memtop("--headless", "--log", str(log), root=scenario(tmp_path, "raise SystemExit(5)"))
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 5
    assert b"no space left on the disk" in err


def test_what_a_killed_memtop_left_is_taken_away(monkeypatch: pytest.MonkeyPatch, place: Place) -> None:
    monkeypatch.setenv("TMPDIR", str(place.temp))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", None)
    alive, stale = Address(), place.temp / "memtop-stale"
    stale.mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(stale / "probe.sock"))
    for path in (alive.path, stale / "probe.sock"):
        os.utime(path, (0, 0))
    second = Address()
    assert not stale.exists()
    assert Path(alive.path).exists()
    for one in (alive, second):
        one.close()
    assert not place.folders()
