"""`memtop run` beside a person's own command: what it prints, how it ends, what reaches it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.process.failing import LIMIT, ROOT, Place, eventually, terminal

TRAIN = str(Path(__file__).parent / "programs" / "train.py")
PYTHON = ("--python", sys.executable)


def run(place: Place, *arguments: str, **more: Any) -> tuple[int, bytes, bytes]:
    """Status, stdout and stderr of `memtop run`."""
    process = place.memtop("run", *arguments, **more)
    out, err = process.communicate(timeout=LIMIT)
    return process.returncode, out, err


def script(folder: Path, text: str) -> str:
    path = folder / "own.py"
    path.write_text(dedent(text))
    return str(path)


def parted(err: bytes) -> tuple[bytes, bytes]:
    """The command's own stderr, and our words after it."""
    own, mark, ours = err.partition(b"memtop: ")
    assert mark
    return own, ours


def plain(drawn: bytearray) -> bytes:
    """What was drawn, without colours and cursor."""
    return re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", bytes(drawn))


ENDS = {
    "raises": ("raise RuntimeError('no')", 1),
    "leaves": ("import os; os._exit(3)", 3),
    "is killed": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 137),
    "is terminated": ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", 143),
}


@pytest.mark.parametrize("how", ENDS)
def test_its_status_is_ours(place: Place, tmp_path: Path, how: str) -> None:
    text, status = ENDS[how]
    path = script(tmp_path, f"print('out')\n{text}")
    plain = subprocess.run([sys.executable, path], capture_output=True, cwd=ROOT, timeout=LIMIT)
    code, out, err = run(place, *PYTHON, path)
    assert (code, out, parted(err)[0]) == (status, plain.stdout, plain.stderr)
    assert not place.folders()


def test_what_it_leaves_running_goes_on(place: Place, tmp_path: Path) -> None:
    fifo, result = tmp_path / "fifo", tmp_path / "result"
    os.mkfifo(fifo)
    text = f"""
        import os
        if os.fork():
            os._exit(5)
        with open({str(fifo)!r}) as file:
            said = file.read()
        with open({str(result)!r}, "w") as file:
            file.write(said)
    """
    code, _, _ = run(place, *PYTHON, script(tmp_path, text), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert code == 5
    fifo.write_text("still here")
    assert eventually(lambda: result.exists() and result.read_text() == "still here")


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["--", "true"], 0, b"no Python of this command has imported torch"),
        (["--", sys.executable, "-I", "-c", "pass"], 0, b"python -I keeps the probe out"),
        ([*PYTHON, "-m", "this"], 0, b"no process of this Python has imported torch"),
        (["nonexistent.py"], 2, b"nonexistent.py: there is no such file"),
        (["--", "no-such-command"], 2, b"no-such-command: there is no such command"),
        (["--headles", "x.py"], 2, b"no such option: --headles"),
        (["-m"], 2, b"-m wants a module"),
        ([], 2, b"there is no command"),
        ([*PYTHON, "true"], 2, b"--python is for scripts and -m"),
        ([__file__.replace("test_run.py", "")], 2, b"can't be executed"),
    ],
)
def test_one_line_says_what_is_missing(place: Place, words: list[str], status: int, says: bytes) -> None:
    code, _, err = run(place, *words)
    assert (code, says in err, b"Traceback" in err) == (status, True, False), err
    assert err.count(b"\n") == (2 if status == 0 else 1)


def test_a_training_computes_and_prints_what_it_would_have(place: Place, tmp_path: Path) -> None:
    plain_losses, losses, log = tmp_path / "plain", tmp_path / "losses", tmp_path / "run.jsonl"
    plain = subprocess.run([sys.executable, TRAIN, str(plain_losses)], capture_output=True, cwd=ROOT, timeout=LIMIT)
    code, out, err = run(place, *PYTHON, "--log", str(log), TRAIN, str(losses))
    assert (code, out, parted(err)[0]) == (plain.returncode, plain.stdout, plain.stderr) == (4, out, b"a warning\n")
    assert losses.read_bytes() == plain_losses.read_bytes()
    records = [json.loads(line) for line in log.read_text().splitlines()]
    first, last = records[0], records[-1]
    assert (first["kind"], first["scenario"], first["settings"]) == ("run", None, {})
    assert first["command"] == [sys.executable, TRAIN, str(losses)]
    assert (last["kind"], last["exit_code"], last["steps"]) == ("end", 4, 40)
    assert any(record["kind"] == "memory" and record["bytes"]["parameters"] == 692 * 4 for record in records)


def test_steps_end_a_child_of_a_shell_and_that_is_no_failure(place: Place, tmp_path: Path) -> None:
    losses = tmp_path / "losses"
    words = ["bash", "-c", f"{sys.executable} {TRAIN} {losses} 100000000; echo $? > {tmp_path / 'status'}; exit 9"]
    code, out, err = run(place, "--steps", "30", "--log", "-", "--", *words)
    kinds = [json.loads(line)["kind"] for line in out.splitlines()]
    assert (code, kinds[0], kinds[-1]) == (0, "run", "end")
    # TERM may come before the word of the last step.
    assert b"step 28 of" in parted(err)[0], "with --log - its words go to stderr"
    assert place.nobody_left(LIMIT)
    assert not losses.exists()


ASKS = """
    import json, os, sys
    said = sys.stdin.read() if not sys.stdin.isatty() else ""
    facts = {"env": dict(os.environ), "tty": [os.isatty(n) for n in (0, 1, 2)], "said": said, "group": os.getpgrp()}
    facts["blocked"] = [line for line in open("/proc/self/status") if line[:3] in ("Sig", "Shd")][2:]
    facts["files"] = [n for n in range(3, 64) if os.path.exists(f"/proc/self/fd/{n}")]
    with open(sys.argv[1], "w") as file:
        json.dump(facts, file)
"""


def asked(path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(path.read_text())
    facts["env"] = {name: value for name, value in facts["env"].items() if not name.startswith("MEMTOP_")}
    return facts


def test_it_finds_what_it_would_have_found(place: Place, tmp_path: Path) -> None:
    path, plain, with_us = script(tmp_path, ASKS), tmp_path / "plain", tmp_path / "with"
    read, write = os.pipe()
    how: dict[str, Any] = {"input": b"hello", "cwd": ROOT, "pass_fds": (read,), "timeout": LIMIT}
    for words, result in (([], plain), ([sys.executable, "-m", "memtop", "run", "--"], with_us)):
        command = [*words, sys.executable, path, str(result)]
        subprocess.run(command, env=place.env, check=True, capture_output=True, **how)
    for number in (read, write):
        os.close(number)
    before, after = asked(plain), asked(with_us)
    ours = after["env"].pop("PYTHONPATH").split(os.pathsep)
    theirs = before["env"].pop("PYTHONPATH", "").split(os.pathsep)
    assert ours[0].endswith("bootstrap")
    assert ours[1:] == [each for each in theirs if each]
    assert {**before, "group": 0} == {**after, "group": 0}
    assert (before["said"], read in before["files"]) == ("hello", True)


def test_on_a_terminal_it_has_the_terminal_and_ctrl_c_once(place: Place, tmp_path: Path) -> None:
    text = """
        import os, signal, sys
        heard = []
        for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGTERM):
            signal.signal(number, lambda got, _: heard.append(got))
        print("tty", *(os.isatty(n) for n in (0, 1, 2)), flush=True)
        line = input()
        print("read", line, flush=True)
        while signal.SIGTERM not in heard:
            before = len(heard)
            signal.pause() if len(heard) == before else None
            print("heard", heard, flush=True)
        sys.exit(6)
    """
    with terminal(place, "run", "--headless", *PYTHON, script(tmp_path, text)) as screen:
        assert eventually(lambda: b"tty True True True" in screen.seen)
        screen.type(b"words\n")
        assert eventually(lambda: b"read words" in screen.seen)
        screen.type(b"\x03")
        assert eventually(lambda: b"heard [2]" in screen.seen)
        screen.process.send_signal(signal.SIGUSR1)
        assert eventually(lambda: b"heard [2, 10]" in screen.seen)
        screen.process.send_signal(signal.SIGTERM)
        assert screen.process.wait(LIMIT) == 6
    assert b"heard [2, 10, 15]" in screen.seen


def test_ctrl_c_ends_it_as_without_us(place: Place, tmp_path: Path) -> None:
    text = "import signal\nprint('there', flush=True)\nsignal.pause()"
    with terminal(place, "run", "--headless", *PYTHON, script(tmp_path, text)) as screen:
        assert eventually(lambda: b"there" in screen.seen)
        screen.type(b"\x03")
        assert screen.process.wait(LIMIT) == 130
        assert eventually(lambda: b"KeyboardInterrupt" in screen.seen)


def middle(tmp_path: Path) -> tuple[list[str], Path, Path]:
    """A shell's words that train up to a meeting in the middle, and the two FIFOs."""
    ready, go = tmp_path / "ready", tmp_path / "go"
    os.mkfifo(ready)
    os.mkfifo(go)
    line = f"{sys.executable} {TRAIN} {tmp_path / 'losses'} 40 {ready} {go}; echo $? > {tmp_path / 'status'}"
    return ["bash", "-c", line], ready, go


def finished(tmp_path: Path) -> bool:
    """Whether it ended with the status and the file that it would have had."""
    status = tmp_path / "status"
    assert eventually(lambda: status.exists() and status.read_text() == "4\n"), "the training did not end"
    plain = tmp_path / "plain"
    subprocess.run([sys.executable, TRAIN, str(plain)], capture_output=True, cwd=ROOT, timeout=LIMIT)
    return plain.read_bytes() == (tmp_path / "losses").read_bytes()


def test_a_killed_monitor_leaves_the_training_alone(place: Place, tmp_path: Path) -> None:
    words, ready, go = middle(tmp_path)
    out = tmp_path / "out"
    with out.open("wb") as file:
        process = place.memtop("run", "--headless", "--", *words, stdout=file, stderr=subprocess.DEVNULL)
        assert ready.read_text() == "here"
        process.kill()
        process.wait(LIMIT)
        go.write_text("on")
        assert finished(tmp_path)
    assert out.read_bytes().endswith(b"step 39 of 40\n")


@pytest.mark.parametrize("how", ["killed", "vanished", "left"])
def test_the_screen_goes_and_the_training_stays(place: Place, tmp_path: Path, how: str) -> None:
    words, ready, go = middle(tmp_path)
    with terminal(place, "run", "--", *words) as screen:
        assert ready.read_text() == "here"
        if how == "killed":
            screen.process.kill()
        elif how == "vanished":
            screen.vanish()
        else:
            screen.type(b"q")
            assert eventually(lambda: b"still runs" in screen.seen)
            screen.type(b"l")
        status = {"killed": -signal.SIGKILL, "vanished": 128 + signal.SIGHUP, "left": 0}
        assert screen.process.wait(LIMIT) == status[how]
        go.write_text("on")
        assert finished(tmp_path)
    assert place.nobody_left(LIMIT)


def test_the_screen_shows_it_on_a_terminal_and_stops_it_when_told(place: Place, tmp_path: Path) -> None:
    text = """
        import os, signal
        print(f"tty {os.isatty(1)} {os.get_terminal_size().columns}", flush=True)
        signal.pause()
    """
    with terminal(place, "run", *PYTHON, script(tmp_path, text), COLUMNS="120", LINES="40") as screen:
        assert eventually(lambda: b"tty True 117" in plain(screen.seen)), plain(screen.seen)[-2000:]
        screen.type(b"q")
        assert eventually(lambda: b"still runs" in screen.seen)
        screen.type(b"s")
        assert screen.process.wait(LIMIT) == 128 + signal.SIGTERM
    assert place.nobody_left()
