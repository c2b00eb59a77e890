"""The screen may go, the training stays: supervisor, `memtop connect`, `memtop.start()`, `memtop attach`."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from memtop.launcher.target import LaunchError
from memtop.model.snapshot import Phase
from memtop.session import found
from memtop.session.shown import Shown
from tests.process.failing import LIMIT, ROOT, Place, eventually, terminal
from tests.process.test_run import PYTHON, finished, middle, plain, script


def listed(place: Place) -> list[dict[str, Any]]:
    """What `memtop connect --json` says."""
    out, err = place.memtop("connect", "--json").communicate(timeout=LIMIT)
    assert err == b""
    return list(json.loads(out)) if out.strip() != b"nothing runs under memtop" else []


def records(log: Path) -> list[dict[str, Any]]:
    text = log.read_text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("how", ["killed", "vanished"])
def test_training_and_log_go_on_without_the_screen(place: Place, tmp_path: Path, how: str) -> None:
    words, ready, go = middle(tmp_path)
    words[-1] += "; exit 4"
    log = tmp_path / "run.jsonl"
    with terminal(place, "run", "--log", str(log), "--", *words) as screen:
        assert ready.read_text() == "here"
        screen.process.kill() if how == "killed" else screen.vanish()
        screen.process.wait(LIMIT)
        (run,) = listed(place)
        assert (run["command"], run["logs"], run["phase"]) == (words, [str(log)], "training")
        go.write_text("on")
        assert finished(tmp_path)
    assert eventually(lambda: listed(place) == [])
    first, *_, last = records(log)
    assert (first["kind"], last["kind"], last["exit_code"], last["steps"]) == ("run", "end", 4, 40)
    assert not list((place.temp / "memtop").iterdir())
    assert place.nobody_left()


def test_a_killed_supervisor_ends_no_training(place: Place, tmp_path: Path) -> None:
    words, ready, go = middle(tmp_path)
    with terminal(place, "run", "--", *words) as screen:
        assert ready.read_text() == "here"
        (supervisor,) = (one for one in psutil.Process(screen.process.pid).children() if "memtop" in one.cmdline())
        supervisor.kill()
        assert eventually(lambda: b"the supervisor is gone" in plain(screen.seen))
        go.write_text("on")
        assert finished(tmp_path)
        screen.type(b"ql")
        assert screen.process.wait(LIMIT) == 0
    assert place.nobody_left()


def test_connect_shows_what_was_said_before_and_stops_it(place: Place, tmp_path: Path) -> None:
    log = tmp_path / "run.jsonl"
    text = "import signal\nprint('said before', flush=True)\nsignal.pause()"
    with terminal(place, "run", "--log", str(log), *PYTHON, script(tmp_path, text)) as screen:
        assert eventually(lambda: b"said before" in plain(screen.seen))
        screen.process.kill()
    folder = place.temp / "memtop"
    (door,) = folder.iterdir()
    assert (stat.S_IMODE(folder.stat().st_mode), stat.S_IMODE(door.stat().st_mode)) == (0o700, 0o600)
    with terminal(place, "connect") as screen, terminal(place, "connect") as other:
        assert eventually(lambda: b"said before" in plain(screen.seen) and b"said before" in plain(other.seen))
        other.type(b"q")
        assert eventually(lambda: b"still runs" in other.seen)
        other.type(b"l")
        assert other.process.wait(LIMIT) == 0
        screen.type(b"q")
        assert eventually(lambda: b"still runs" in screen.seen)
        screen.type(b"s")
        assert screen.process.wait(LIMIT) == 128 + signal.SIGTERM
    assert eventually(lambda: listed(place) == [])
    assert records(log)[-1]["signal"] == signal.SIGTERM


def test_connect_finds_nothing(place: Place) -> None:
    out, _ = place.memtop("connect").communicate(timeout=LIMIT)
    assert out == b"nothing runs under memtop\n"
    process = place.memtop("connect", "4000000")
    _, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, err.count(b"\n")) == (2, 1)
    assert b"memtop watches no process 4000000" in err


STARTS = """
import sys
{before}
import torch
{after}
torch.manual_seed(3)
torch.set_num_threads(1)
model = torch.nn.Linear(20, 30)
optimizer = torch.optim.Adam(model.parameters())
losses, step = [], 0
import os, time
while not os.path.exists(sys.argv[2]) or step < 400:
    optimizer.zero_grad()
    loss = model(torch.randn(16, 20)).square().mean()
    loss.backward()
    optimizer.step()
    losses.append(loss.item().hex())
    step += 1
    time.sleep(0.001)
open(sys.argv[1], "w").write(" ".join(losses[:400]))
"""
OURS = "import memtop; memtop.start(); memtop.start()"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_program_that_listens_is_visited_twice(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place.temp))
    (tmp_path / "there").touch()
    losses = []
    for name, ours in (("plain", ""), ("ours", OURS)):
        text = STARTS.format(**({"before": "", "after": ""} | {when: ours}))
        (tmp_path / f"{name}.py").write_text(text)
    command = [sys.executable, tmp_path / "plain.py", tmp_path / "plain", tmp_path / "there"]
    subprocess.run(command, cwd=ROOT, timeout=LIMIT, check=True)
    command = [sys.executable, tmp_path / "ours.py", tmp_path / "ours", tmp_path / "end"]
    program = subprocess.Popen(command, cwd=ROOT, env=place.env | {"MEMTOP_DEBUG": "1"})
    place.started.append(psutil.Process(program.pid))
    assert eventually(lambda: [one.pid for one in found.find()] == [program.pid])
    steps = []
    for _ in range(2):
        session = found.open_found(found.find()[0])
        session.start()
        with pytest.raises(LaunchError, match="another memtop watches"):
            found.open_found(found.find()[0])
        assert eventually(partial(trains, session))
        shown = session.snapshot()
        assert shown.model is not None
        assert shown.model.parameters == 630
        assert eventually(lambda s=session: s.snapshot().deep is not None)
        looked = session.snapshot().deep
        assert eventually(lambda s=session: s.snapshot().forecast is not None)
        forecast = session.snapshot().forecast
        assert looked is not None
        assert forecast is not None
        assert forecast.step == looked.step, "each visitor is told what fits by the look that meets them"
        steps.append(0 if shown.step is None else shown.step.step)
        session.close()
    assert 0 < steps[0] < steps[1]
    (tmp_path / "end").touch()
    assert program.wait(LIMIT) == 0
    losses = [(tmp_path / name).read_text() for name in ("plain", "ours")]
    assert losses[0] == losses[1]
    assert not list((place.temp / "memtop").iterdir())


def test_start_does_nothing_where_memtop_watches_and_fails_nowhere(place: Place, tmp_path: Path) -> None:
    path = script(tmp_path, f"{OURS}\nimport os\nprint(os.listdir({str(place.temp / 'memtop')!r}))")
    (place.temp / "memtop").mkdir(mode=0o700)
    process = place.memtop("run", *PYTHON, path)
    assert process.communicate(timeout=LIMIT)[0] == b"[]\n"
    (place.temp / "memtop").chmod(0o755)  # anybody could look in: no place for a socket
    done = subprocess.run([sys.executable, path], cwd=ROOT, env=place.env, capture_output=True, timeout=LIMIT)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"[]\n", b"")


def test_attach_watches_from_outside_to_the_end(place: Place, tmp_path: Path) -> None:
    log = tmp_path / "run.jsonl"
    go = tmp_path / "go"
    os.mkfifo(go)
    program = subprocess.Popen([sys.executable, "-c", f"open({str(go)!r}).read()"])
    place.started.append(psutil.Process(program.pid))
    out, _ = place.memtop("attach", str(program.pid), "--once").communicate(timeout=LIMIT)
    assert b"no categories: memtop did not start this process" in out
    process = place.memtop("attach", str(program.pid), "--headless", "--log", str(log))
    assert eventually(lambda: log.exists() and log.read_text().count('"kind":"device"') > 1)
    go.write_text("end")
    assert (program.wait(LIMIT), process.wait(LIMIT)) == (0, 0)
    first, *between, last = records(log)
    assert first["command"] == psutil_command(program, first)
    assert any(one["kind"] == "device" and one["tree_rss"] for one in between)
    assert (last["kind"], last["exit_code"], last["signal"]) == ("end", None, None)


def trains(session: Shown) -> bool:
    """Whether it was seen training, and from inside."""
    shown = session.snapshot()
    return shown.deep is not None and shown.phase is Phase.TRAINING


def psutil_command(program: subprocess.Popen[bytes], first: dict[str, Any]) -> list[str]:
    """As it was started."""
    assert isinstance(program.args, list)
    return [first["command"][0], *map(str, program.args[1:])]


@pytest.mark.parametrize("pid", ["4000000", "x", "0"])
def test_a_wrong_pid_is_one_line_and_status_2(place: Place, pid: str) -> None:
    process = place.memtop("attach", pid, "--headless")
    _, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, err.count(b"\n"), b"Traceback" in err) == (2, 1, False)
