"""Scenarios forked from a process that has torch: they compute, print and end as fresh ones do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import psutil
import pytest

from memtop.launcher import manifests
from memtop.launcher.target import Address, Target, environment
from memtop.launcher.warm import Warm
from memtop.model.records import MemoryRecord, Record, StepRecord
from memtop.session import Options, Session
from tests.process.failing import LIMIT, eventually

pytestmark = pytest.mark.skipif(not Warm.possible(), reason="this system can't tell of a child by a descriptor")

TRAINS = """
    import os, sys, threading, torch
    print(sys.argv[1:], os.path.basename(sys.path[0]), __name__, __file__ == sys.modules["__main__"].__file__)
    print(os.environ["SAID"], os.getcwd(), threading.active_count() - ("MEMTOP_SOCKET" in os.environ), sys.stdin.read())
    torch.manual_seed(1)
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(4):
        loss = model(torch.randn(5, 3)).square().sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        print(loss.item().hex())
    print("to stderr", file=sys.stderr)
    if len(sys.argv) > 2:
        exec(sys.argv[2])
"""
ENDS = {
    "raises": ("raise KeyError('x')", 1),
    "exits": ("sys.exit(7)", 7),
    "leaves": ("os._exit(3)", 3),
    "is killed": ("os.kill(os.getpid(), 9)", -9),
}


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    env = {name: value for name, value in os.environ.items() if name != "MEMTOP_SOCKET"}
    starter = Warm(sys.executable, env)
    assert eventually(lambda: starter.ready)
    yield starter
    starter.close()
    assert not starter.ready


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "own.py"
    path.write_text(dedent(TRAINS))
    return str(path)


def ran(target: Target | None) -> tuple[int | None, bytes]:
    assert target is not None
    assert target.stdout is not None
    said = target.stdout.read()
    return target.wait(LIMIT), said


@pytest.mark.parametrize("how", ["goes well", *ENDS])
def test_as_a_fresh_process(warm: Warm, script: str, how: str) -> None:
    code, status = ENDS.get(how, ("", 0))
    words = [sys.executable, "-u", script, "argument", *([code] if code else [])]
    env = {**os.environ, "SAID": "a word"}
    fresh = subprocess.run(words, env=env, stdin=subprocess.DEVNULL, stdout=-1, stderr=subprocess.STDOUT, timeout=LIMIT)
    address = Address()
    try:
        watched = environment(env, address.path, 1.0)
        assert ran(warm.launch(words, watched, "capture")) == (fresh.returncode, fresh.stdout) == (status, fresh.stdout)
    finally:
        address.close()
    assert b"to stderr" in fresh.stdout


def test_only_for_its_own_python_and_only_while_it_is_there(script: str, warm: Warm) -> None:
    assert warm.launch(["/usr/bin/python", script], os.environ, "capture") is None
    gone = Warm("/nowhere/python", os.environ)
    assert gone.launch(["/nowhere/python", script], os.environ, "capture") is None
    gone.close()


def test_it_is_stopped_with_all_that_it_started(warm: Warm, tmp_path: Path) -> None:
    path = tmp_path / "forks.py"
    path.write_text(
        "import os, signal, time\nsignal.signal(15, signal.SIG_IGN)\nos.fork()\nprint(1)\ntime.sleep(600)\n"
    )
    target = warm.launch([sys.executable, "-u", str(path)], os.environ, "capture")
    assert target is not None
    assert target.stdout is not None
    assert target.stdout.read(1)
    assert target.stop() == -signal.SIGKILL
    assert eventually(lambda: not [p for p in psutil.process_iter() if _group(p.pid) == target.pid])


def _group(pid: int) -> int | None:
    try:
        return None if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE else os.getpgid(pid)
    except (OSError, psutil.Error):
        return None


def test_the_next_scenario_of_a_session_is_warm_and_sees_as_much() -> None:
    def settings(name: str) -> dict[str, str | int | float | bool | None]:
        return manifests.resolve(manifests.load(name), {"steps": 0, "device": "cpu", "batch_size": 8})

    records: list[Record] = []
    before = {one.pid for one in psutil.Process().children()}
    session = Session(Options(scenario="mlp-mnist", settings=settings("mlp-mnist"), warm=True))
    session.on_record(records.append)
    try:
        session.start()
        assert eventually(lambda: session.is_warm)
        started = [one for one in psutil.Process().children() if one.pid not in before]
        records.clear()
        session.restart(settings={"batch_size": 16})
        assert eventually(lambda: any(isinstance(one, StepRecord) and one.batch_size == 16 for one in records))
        assert eventually(lambda: session.snapshot().deep is not None)
    finally:
        session.close()
    peaks = [one for one in records if isinstance(one, MemoryRecord) and one.moment == "peak" and one.tier == "deep"]
    assert peaks[0].bytes["parameters"] == 407_080
    assert peaks[0].bytes["other_tensors"] == 0
    assert eventually(lambda: not any(one.is_running() for one in started))
